"""Words of a search: what they match in a listing's title, description and place (PostgreSQL, "Full Text Search")."""

import re
from collections.abc import Callable
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, case, cast, func, literal_column
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY

from app.models import PUNCTUATION, SEARCH_EXACT, SEARCH_STEMMED

_PUNCTUATION = re.compile(PUNCTUATION)


def split_words(text: str) -> list[str]:
    """The words of a query, parted as those of a listing are. So nothing in them is an operator or a wildcard."""
    return _PUNCTUATION.sub(" ", text).split()


def tsquery(text: str) -> ColumnElement[Any]:
    """All of these words, the last one as a prefix.

    A word matches stemmed (drills finds drill) or as it is written. An English stop word asks for nothing, unless it
    is the only word. See PostgreSQL, "Parsing Queries".
    """
    if not (words := split_words(text)):
        return cast("", TSQUERY)  # matches nothing
    *whole, last = words
    prefix = _either(func.to_tsquery, f"'{last}':*")
    if not whole:
        return prefix
    asked = [_unless_stop_word(word, _either(func.phraseto_tsquery, word)) for word in whole]
    asked.append(_unless_stop_word(last, prefix))
    return reduce(lambda left, right: left.op("&&", return_type=TSQUERY())(right), asked)


def _unless_stop_word(word: str, asked: ColumnElement[Any]) -> ColumnElement[Any]:
    is_stop_word = func.numnode(func.phraseto_tsquery(_config(SEARCH_STEMMED), word)) == 0
    return case((is_stop_word, cast("", TSQUERY)), else_=asked)


def _either(parse: Callable[..., Any], text: str) -> ColumnElement[Any]:
    stemmed: ColumnElement[Any] = parse(_config(SEARCH_STEMMED), text)
    exact: ColumnElement[Any] = parse(_config(SEARCH_EXACT), text)
    return stemmed.op("||", return_type=TSQUERY())(exact)


def _config(name: str) -> ColumnElement[Any]:
    return cast(literal_column(f"'{name}'"), REGCONFIG)
