"""The mark of public routes. Every other route needs an identity: see `app.auth.identity`."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

View = TypeVar("View", bound=Callable[..., Any])


def public(view: View) -> View:
    """Mark a view as one that needs no identity."""
    view.is_public = True  # type: ignore[attr-defined]
    return view


def current_view() -> Callable[..., Any] | None:
    """The view of the current request, whose marks the hooks read; None if no route matches."""
    return current_app.view_functions.get(request.endpoint or "")


def is_public(view: Callable[..., Any] | None) -> bool:
    """Whether a registered view is marked `@public`. The mark survives `functools.wraps`."""
    return getattr(view, "is_public", False)
