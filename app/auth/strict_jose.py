"""The compact form of a JWT read strictly (RFC 7515 §7.1, RFC 8725 §2): what a lenient parser would let through.

joserfc does the cryptography. This module refuses, before and beside it, duplicate members, NaN, endless numbers,
deep nesting, lone surrogates, padding, and key hints in the header.
"""

import base64
import re
from typing import Any

import orjson

from app import strict_json
from app.errors import InvalidToken

MAX_NAME_LENGTH = 255
# Numbers above are no NumericDate of this age, and floats cannot tell them apart (RFC 7493 §2.2).
MAX_NUMERIC_DATE = 2**53
_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)
# A key hint is the sender's word on which key to believe; `crit` announces extensions that this service has none of.
_REFUSED_HEADER_MEMBERS = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"})
_TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})


def parse_header(token: str) -> dict[str, Any]:
    """The JOSE header of a token: RS256, with a `kid`, and with nothing that could move the trust elsewhere.

    Raises:
        InvalidToken: the token is not of the compact form, or its header says anything else.
    """
    header = _member(token, 0)
    kid, typ = header.get("kid"), header.get("typ", "JWT")
    if header.get("alg") != "RS256":
        raise InvalidToken("The token is not signed with RS256.")
    if not isinstance(kid, str) or not 0 < len(kid) <= MAX_NAME_LENGTH:
        raise InvalidToken("The token names no key.")
    if not isinstance(typ, str) or typ.lower() not in _TYPES or _REFUSED_HEADER_MEMBERS & header.keys():
        raise InvalidToken("The token's header is not accepted.")
    return header


def parse_claims(token: str) -> dict[str, Any]:
    """The claims set of a token, its dates being plain numbers in a sane range.

    Raises:
        InvalidToken: the payload is no JSON object, or a date in it is none.
    """
    claims = _member(token, 1)
    for name in ("exp", "iat", "nbf"):
        value = claims.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_NUMERIC_DATE:
            raise InvalidToken(f"The token's {name} is not a date.")
    return claims


def _member(token: str, index: int) -> dict[str, Any]:
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("The token is not a signed JSON Web Token.")
    part = match.group(index + 1)
    try:
        value = strict_json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        orjson.dumps(value)  # refuses a lone surrogate, and an integer that no other parser reads
    except (ValueError, TypeError) as error:
        raise InvalidToken("The token cannot be read.") from error
    if not isinstance(value, dict):
        raise InvalidToken("The token cannot be read.")
    return value
