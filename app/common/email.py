"""E-mail addresses: which are acceptable, equal and verified."""

from collections.abc import Mapping
from typing import Any

from email_validator import EmailNotValidError, validate_email


def acceptable_email(value: object) -> str | None:
    """The normalised address if its form is valid (RFC 5321, RFC 6531), else None. There is no DNS look-up."""
    if not isinstance(value, str):
        return None
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        return None


def is_same_email(one: str, other: str) -> bool:
    """Whether two acceptable addresses are equal without regard to case, by Unicode's rules.

    The database's citext compares by its locale, which may take "İ" for "i": another address.
    """
    return one.lower() == other.lower()


def email_claims(claims: Mapping[str, Any]) -> tuple[str | None, bool]:
    """The `email` of a set of claims, and whether it is verified (OpenID Connect Core §5.1).

    It is verified if there is an acceptable address and `email_verified` is boolean true, not "true" or 1.
    """
    email = acceptable_email(claims.get("email"))
    return email, email is not None and claims.get("email_verified") is True
