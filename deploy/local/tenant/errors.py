"""Errors that endpoints share."""

from __future__ import annotations


class OAuthError(Exception):
    """A refusal in the words of RFC 6749 §5.2 and §4.1.2.1; ``status`` is the one Auth0 answers with."""

    def __init__(self, status: int, code: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.code = code
        self.description = description
