"""What counts as an e-mail address, and as a verified one, the same wherever it comes from."""

from collections.abc import Mapping
from typing import Any

from email_validator import EmailNotValidError, validate_email


def acceptable_email(value: object) -> str | None:
    """The address, normalised, if it is one by its form (RFC 5321, RFC 6531), without any look-up; else None."""
    if not isinstance(value, str):
        return None
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        return None


def is_same_email(one: str, other: str) -> bool:
    """Whether two acceptable addresses differ in the case of letters at most, by Unicode's rules.

    The database's citext goes by its locale, which may make "İ" an "i": that would be somebody else's address.
    """
    return one.lower() == other.lower()


def email_claims(claims: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The `email` of a set of claims, and whether it is verified (OpenID Connect Core §5.1).

    Verified only where there is an acceptable address and `email_verified` is boolean true: no "true" and no 1.
    """
    email = acceptable_email(claims.get("email"))
    return email, email is not None and claims.get("email_verified") is True
