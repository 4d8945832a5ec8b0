"""The form of JSON values: a check of a value, {name: shape}, [shape of each element], or a set of literals."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

Shape = Any


def text(value: Any) -> bool:
    return isinstance(value, str)


def integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: Any) -> bool:
    return integer(value) or isinstance(value, float)


def boolean(value: Any) -> bool:
    return isinstance(value, bool)


def json_object(value: Any) -> bool:
    return isinstance(value, dict)


def uuid(value: Any) -> bool:
    """A UUID in its canonical form (RFC 9562 §4)."""
    return text(value) and str(UUID(value)) == value


def time(value: Any) -> bool:
    """RFC 3339, in UTC."""
    return text(value) and datetime.fromisoformat(value).utcoffset() == timedelta(0)


def money(value: Any) -> bool:
    return text(value) and re.fullmatch(r"[0-9]+\.[0-9]{2}", value) is not None


def or_null(shape: Shape) -> Callable[[Any], bool]:
    return lambda value: value is None or not differences(value, shape)


def differences(value: Any, shape: Shape, *, exact: bool = True, place: str = "body") -> list[str]:
    """Where a value differs from its shape; additional members count if `exact`."""
    if isinstance(shape, dict) and isinstance(value, dict):
        names = [f"{place}.{name} is missing" for name in shape.keys() - value.keys()]
        names += [f"{place}.{name} is new" for name in value.keys() - shape.keys()] if exact else []
        members = (
            differences(value[name], part, exact=exact, place=f"{place}.{name}")
            for name, part in shape.items()
            if name in value
        )
        return names + [found for each in members for found in each]
    if isinstance(shape, list) and isinstance(value, list):
        return [found for one in value for found in differences(one, shape[0], exact=exact, place=f"{place}[]")]
    if isinstance(shape, dict | list):
        is_as_expected = False
    else:
        is_as_expected = value in shape if isinstance(shape, set) else shape(value)
    return [] if is_as_expected else [f"{place} is {value!r}"]
