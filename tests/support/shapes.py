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
    return lambda value: value is None or fits(value, shape)


def fits(value: Any, shape: Shape, *, exact: bool = True) -> bool:
    """Whether a value has a shape; an object may have additional members unless `exact`."""
    if isinstance(shape, dict):
        if not isinstance(value, dict) or shape.keys() - value.keys() or (exact and value.keys() - shape.keys()):
            return False
        return all(fits(value[name], part, exact=exact) for name, part in shape.items())
    if isinstance(shape, list):
        return isinstance(value, list) and all(fits(each, shape[0], exact=exact) for each in value)
    return value in shape if isinstance(shape, set) else bool(shape(value))
