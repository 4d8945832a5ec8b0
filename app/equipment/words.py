"""Words of a search: what they match in a listing's title, description and place (PostgreSQL, "Full Text Search")."""

import re
from collections.abc import Callable
from functools import reduce
from typing import Any

from sqlalchemy import ColumnElement, String, bindparam, case, cast, func, literal_column
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY

from app.models import PUNCTUATION, SEARCH_EXACT, SEARCH_STEMMED

_PUNCTUATION = re.compile(PUNCTUATION)
_NOTHING = cast(literal_column("''"), TSQUERY)  # asks for nothing; alone, it matches nothing


def split_words(text: str) -> list[str]:
    """The words of a query, parted as those of a listing are. So nothing in them is an operator or a wildcard."""
    return _PUNCTUATION.sub(" ", text).split()


def word_values(text: str) -> dict[str, str]:
    """The values of the `tsquery` of so many words."""
    words = split_words(text)
    if words:
        words[-1] = f"'{words[-1]}':*"
    return {_name(number): word for number, word in enumerate(words)}


def tsquery(number_of_words: int) -> ColumnElement[Any]:
    """All of so many words, the last one as a prefix.

    A word matches stemmed (drills finds drill) or as it is written. An English stop word asks for nothing, unless it
    is the only word. See PostgreSQL, "Parsing Queries".
    """
    if not number_of_words:
        return _NOTHING
    *whole, last = (bindparam(_name(number), type_=String()) for number in range(number_of_words))
    prefix = _either(func.to_tsquery, last)
    if not whole:
        return prefix
    asked = [_unless_stop_word(word, func.phraseto_tsquery, _either(func.phraseto_tsquery, word)) for word in whole]
    asked.append(_unless_stop_word(last, func.to_tsquery, prefix))
    return reduce(lambda left, right: left.op("&&", return_type=TSQUERY())(right), asked)


def _name(number: int) -> str:
    return f"word_{number}"


def _unless_stop_word(word: ColumnElement[str], parse: Callable[..., Any], asked: ColumnElement[Any]) -> Any:
    is_stop_word = func.numnode(parse(_config(SEARCH_STEMMED), word)) == 0
    return case((is_stop_word, _NOTHING), else_=asked)


def _either(parse: Callable[..., Any], word: ColumnElement[str]) -> ColumnElement[Any]:
    stemmed: ColumnElement[Any] = parse(_config(SEARCH_STEMMED), word)
    exact: ColumnElement[Any] = parse(_config(SEARCH_EXACT), word)
    return stemmed.op("||", return_type=TSQUERY())(exact)


def _config(name: str) -> ColumnElement[Any]:
    return cast(literal_column(f"'{name}'"), REGCONFIG)
