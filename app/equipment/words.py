"""The `tsquery` of a search's words (PostgreSQL, "Full Text Search")."""

import re
from collections.abc import Callable
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, case, cast, func, literal_column
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY

from app.models import PUNCTUATION, SEARCH_EXACT, SEARCH_STEMMED

_PUNCTUATION = re.compile(PUNCTUATION)
_STEMMED, _EXACT = (cast(literal_column(f"'{name}'"), REGCONFIG) for name in (SEARCH_STEMMED, SEARCH_EXACT))
_EMPTY = cast(literal_column("''"), TSQUERY)  # neutral in a conjunction; matches nothing by itself


def split_words(text: str) -> list[str]:
    """The words of a query, split like the text of a listing: no operator or wildcard is left in them."""
    return _PUNCTUATION.sub(" ", text).split()


def word_values(text: str) -> dict[str, str]:
    """The values of the parameters of `tsquery`, for the words of this text."""
    words = split_words(text)
    if words:
        words[-1] = f"'{words[-1]}':*"
    return {f"word_{number}": word for number, word in enumerate(words)}


def tsquery(count: int) -> ColumnElement[Any]:
    """The conjunction of `count` words, the last one as a prefix.

    A word matches by its stem ("drills" matches "drill") or literally. An English stop word is ignored unless it is
    the only word (PostgreSQL, "Parsing Queries").
    """
    if not count:
        return _EMPTY
    *whole, last = (bindparam(f"word_{number}", type_=String()) for number in range(count))
    prefix = _either(func.to_tsquery, last)
    if not whole:
        return prefix
    terms = [_unless_stop_word(word, func.phraseto_tsquery, _either(func.phraseto_tsquery, word)) for word in whole]
    terms.append(_unless_stop_word(last, func.to_tsquery, prefix))
    return reduce(lambda left, right: left.op("&&", return_type=TSQUERY())(right), terms)


def _unless_stop_word(word: ColumnElement[str], parse: Callable[..., Any], term: ColumnElement[Any]) -> Any:
    is_stop_word = func.numnode(parse(_STEMMED, word)) == 0
    return case((is_stop_word, _EMPTY), else_=term)


def _either(parse: Callable[..., Any], word: ColumnElement[str]) -> ColumnElement[Any]:
    stemmed: ColumnElement[Any] = parse(_STEMMED, word)
    exact: ColumnElement[Any] = parse(_EXACT, word)
    return stemmed.op("||", return_type=TSQUERY())(exact)
