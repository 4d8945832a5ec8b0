"""The mark of public routes. Every other route needs an identity: see `app.auth.identity`."""

from collections.abc import Callable
from typing import Any, TypeVar

View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Mark a view as one that needs no identity."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def is_public(view: Callable[..., Any]) -> bool:
    """Whether a registered view is marked `@public`. The mark survives `functools.wraps`."""
    return getattr(view, "is_public", False)
