"""What counts as an e-mail address, the same wherever one comes from."""

from email_validator import EmailNotValidError, validate_email


def acceptable_email(value: object) -> str | None:
    """The address, normalised, if it is one by its form (RFC 5321, RFC 6531), without any look-up; else None."""
    if not isinstance(value, str):
        return None
    try:
        return validate_email(value, check_deliverability=False).normalized
    except EmailNotValidError:
        return None
