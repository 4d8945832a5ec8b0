"""Shapes of JSON in few words, for tables of what clients rely on: names, types and nothing too many."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

Shape = Any  # a check of a value, {name: shape}, [shape of each], or a set of literals


def _is(kind: type, value: Any) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def text(value: Any) -> bool:
    return _is(str, value)


def whole(value: Any) -> bool:
    return _is(int, value)


def number(value: Any) -> bool:
    return _is(int, value) or _is(float, value)


def flag(value: Any) -> bool:
    return _is(bool, value)


def an_object(value: Any) -> bool:
    return _is(dict, value)


def an_id(value: Any) -> bool:
    """A UUID, as it is written (RFC 9562 §4)."""
    return _is(str, value) and str(UUID(value)) == value


def a_time(value: Any) -> bool:
    """RFC 3339, in UTC."""
    return _is(str, value) and datetime.fromisoformat(value).utcoffset().total_seconds() == 0  # type: ignore[union-attr]


def money(value: Any) -> bool:
    return _is(str, value) and re.fullmatch(r"[0-9]+\.[0-9]{2}", value) is not None


def or_null(shape: Shape) -> Callable[[Any], bool]:
    return lambda value: value is None or not differences(value, shape)


def differences(value: Any, shape: Shape, *, at_least: bool = False, place: str = "") -> list[str]:
    """What is not as it should be; members too many only count if not `at_least`."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [f"{place or 'body'} is no object"]
        names = [f"{place}.{name} is missing" for name in shape.keys() - value.keys()]
        names += [] if at_least else [f"{place}.{name} is new" for name in value.keys() - shape.keys()]
        inner = (
            differences(value[name], part, at_least=at_least, place=f"{place}.{name}")
            for name, part in shape.items() if name in value
        )  # fmt: skip
        return names + [found for each in inner for found in each]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{place or 'body'} is no array"]
        return [found for one in value for found in differences(one, shape[0], at_least=at_least, place=f"{place}[]")]
    if isinstance(shape, set):
        return [] if value in shape else [f"{place} is {value!r}"]
    return [] if shape(value) else [f"{place} is {value!r}"]
