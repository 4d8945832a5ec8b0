"""The bases of the schemas, and fields that accept only what the database can hold."""

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from urllib.parse import urlsplit

import marshmallow as ma
import orjson
from marshmallow import ValidationError, fields, validate
from webargs.multidictproxy import MultiDictProxy

from app.common.email import acceptable_email

MAX_MEMBERS = 100
MAX_URL_LENGTH = 2048
# Normalising takes time quadratic in the number of consecutive marks. UAX #15 calls 30 enough for any language.
MAX_MARKS = 30
MAX_DECOMPOSITION = 4  # code points that NFC can compose into one (UAX #15)
MAX_OBJECT_BYTES = 16 * 1024
MAX_OBJECT_DEPTH = 8
# PostgreSQL's jsonb returns 1e300 as an integer of 301 digits, and orjson writes integers of 64 bits.
MAX_OBJECT_NUMBER = 2.0**63
TOO_LARGE_OBJECT = f"Must be at most {MAX_OBJECT_BYTES} bytes and {MAX_OBJECT_DEPTH} levels deep."
UNPORTABLE_OBJECT = "Must hold text and numbers that JSON can carry."
# What web forms and JavaScript clients send for an empty choice.
ABSENT_QUERY_VALUES = frozenset({"", "null", "undefined"})
# Unicode's general categories of controls, invisible format characters, surrogates, line and paragraph separators.
_REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # part of how Persian, Hindi and emoji are written


class Body(ma.Schema):
    """A request's JSON body. Unknown fields are refused."""

    class Meta:
        unknown = ma.RAISE

    @ma.pre_load
    def refuse_crowds(self, data: Any, **_: Any) -> Any:
        """Refuse a large object before every unknown field of it becomes an error."""
        if isinstance(data, dict) and len(data) > MAX_MEMBERS:
            raise ValidationError(f"Must not have more than {MAX_MEMBERS} members.")
        return data


class Query(ma.Schema):
    """A request's query. Blank, `null` and `undefined` values count as absent; unknown parameters are ignored."""

    ALIASES: ClassVar[Mapping[str, str]] = {}

    class Meta:
        unknown = ma.EXCLUDE

    @ma.pre_load
    def drop_absent_values(self, data: MultiDictProxy, **_: Any) -> dict[str, str]:
        """Keep one value of each parameter. Two different values are refused, as either may be meant."""
        given: dict[str, set[str]] = {}
        for name, values in data.data.lists():  # type: ignore[attr-defined]
            present = {value for value in values if value.strip() not in ABSENT_QUERY_VALUES}
            given.setdefault(self.ALIASES.get(name, name), set()).update(present)
        repeated = [name for name, values in given.items() if len(values) > 1 and name in self.fields]
        if repeated:
            raise ValidationError({name: ["Give this once."] for name in repeated})
        return {name: value for name, values in given.items() for value in values}


class Text(fields.String):
    """Unicode text between two lengths (in code points), without control and invisible characters.

    Trimmed, and normalised to NFC, so that texts that look equal are equal. `verbatim` keeps a secret as it was typed.
    `formatted` permits the format characters of prose: marks of direction, the tags of flags.
    """

    def __init__(
        self,
        *,
        min_length: int = 0,
        max_length: int,
        multiline: bool = False,
        verbatim: bool = False,
        formatted: bool = False,
        **options: Any,
    ) -> None:
        self._length = validate.Length(min=min_length, max=max_length)
        super().__init__(validate=self._length, **options)
        self._max_length_before_normalising = max_length * MAX_DECOMPOSITION
        self._verbatim = verbatim
        self._allowed = _JOINERS + ("\n\r\t" if multiline else "")
        self._refused = _REFUSED_CATEGORIES - ({"Cf"} if formatted else set())

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **options)
        if not self._verbatim:
            text = text.strip()
        self._check_characters(text)
        return text if self._verbatim else unicodedata.normalize("NFC", text)

    def _check_characters(self, text: str) -> None:
        """Refuse control characters, and a text that would take long to normalise."""
        if len(text) > self._max_length_before_normalising:
            self._length(text)
        if text.isascii() and text.isprintable():  # fast path: every printable ASCII character is allowed
            return
        marks = 0
        for character in text:
            category = unicodedata.category(character)
            if category in self._refused and character not in self._allowed:
                raise ValidationError("Must not contain control or invisible characters.")
            marks = marks + 1 if category.startswith("M") else 0
            if marks > MAX_MARKS and not self._verbatim:
                raise ValidationError(f"Must not have more than {MAX_MARKS} marks on one character.")


class Items(fields.List[Any]):
    """A list of bounded length, which is checked before any item is."""

    def __init__(self, inner: fields.Field[Any], *, max_items: int, **options: Any) -> None:
        self._length = validate.Length(max=max_items)
        super().__init__(inner, validate=self._length, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> list[Any]:
        if isinstance(value, list):
            self._length(value)
        return super()._deserialize(value, attr, data, **options)


class Email(Text):
    """An e-mail address (RFC 5321), checked by its syntax alone, and normalised."""

    def __init__(self, **options: Any) -> None:
        super().__init__(min_length=3, max_length=254, **options)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        email = acceptable_email(super()._deserialize(value, attr, data, **options))
        if email is None:
            raise ValidationError("Not a valid e-mail address.")
        return email


class HttpsUrl(Text):
    """An https URL of bounded length, its scheme and host in lower case. The service never fetches it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_URL_LENGTH, **options)
        self.validators.append(validate.URL(schemes={"https"}))

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> str:
        text = super()._deserialize(value, attr, data, **options)
        try:
            parts = urlsplit(text)
        except ValueError:
            raise ValidationError("Not a valid URL.") from None
        if "@" in parts.netloc:
            raise ValidationError("Must not hold a user name or password.")
        return parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower()).geturl()


class _PlainNumber(fields.Number[Any]):
    """A number written as `plain`. `int` and `float` would also parse `1_0` and the digits of other scripts."""

    plain: ClassVar[re.Pattern[str]]

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Any:
        if not self.plain.fullmatch(str(value)):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **options)


class Integer(_PlainNumber, fields.Integer):
    """An integer in ASCII digits."""

    plain = re.compile(r"-?\d{1,18}", re.ASCII)


class Number(_PlainNumber, fields.Float):
    """A finite number in ASCII digits, with an optional exponent."""

    plain = re.compile(r"-?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)


class Flag(fields.Boolean):
    """`true` or `false` in a JSON body. marshmallow's field also takes 1, "yes" and the like."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **options)


class Money(_PlainNumber, fields.Decimal):
    """An amount with at most two decimals: a string or a number in, a string out, never rounded. By default above 0."""

    # No exponent, which could denote a number of any length.
    plain = re.compile(r"-?\d{1,12}(\.\d{1,12})?", re.ASCII)

    def __init__(self, *, maximum: Decimal, positive: bool = True, **options: Any) -> None:
        super().__init__(as_string=True, **options)
        self._range = validate.Range(min=Decimal(0), min_inclusive=not positive, max=maximum)

    def bounds(self) -> dict[str, float]:
        """The range of a number, as JSON Schema says it (Validation §6.2)."""
        lower = "minimum" if self._range.min_inclusive else "exclusiveMinimum"
        return {lower: float(self._range.min), "maximum": float(self._range.max)}

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> Decimal:
        amount: Decimal = super()._deserialize(value, attr, data, **options)
        if amount != round(amount, 2):
            raise ValidationError("Must not have more than two decimals.")
        return self._range(amount)

    def _to_string(self, value: Decimal) -> str:
        return f"{value:.2f}"


class JsonObject(fields.Dict):
    """Any JSON object of bounded size and depth."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **options: Any) -> dict[str, Any]:
        parsed: dict[str, Any] = super()._deserialize(value, attr, data, **options)  # type: ignore[no-untyped-call]
        try:
            size = len(orjson.dumps(parsed))
        except TypeError as error:  # an integer beyond 64 bits, or nesting beyond orjson's limit
            raise ValidationError(UNPORTABLE_OBJECT) from error
        if size > MAX_OBJECT_BYTES:
            raise ValidationError(TOO_LARGE_OBJECT)
        _check_members(parsed, depth=1)
        return parsed


def _check_members(value: Any, *, depth: int) -> None:
    """Check the depth of a JSON value, and all scalars in it, the names of members included."""
    if isinstance(value, dict | list):
        if depth > MAX_OBJECT_DEPTH:
            raise ValidationError(TOO_LARGE_OBJECT)
        for member in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_members(member, depth=depth + 1)
    elif isinstance(value, str) and "\0" in value:
        raise ValidationError("Must not contain control characters.")
    elif isinstance(value, float) and abs(value) >= MAX_OBJECT_NUMBER:
        raise ValidationError(UNPORTABLE_OBJECT)
