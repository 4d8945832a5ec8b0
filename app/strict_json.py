"""JSON read as RFC 7493 (I-JSON) narrows it: UTF-8, no duplicate members, no NaN, no bottomless nesting."""

import json
from typing import Any


def loads(document: str | bytes) -> Any:
    """Parse a document.

    Raises:
        ValueError: it is not strict JSON; the message says why, in words for who sent it.
    """
    try:
        text = document.decode() if isinstance(document, bytes) else document
        return json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("an object has a member twice")
    return members


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a JSON number")
