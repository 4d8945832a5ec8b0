"""Marks of views, which hooks and the API's description read."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import current_app, request

View = TypeVar("View", bound=Callable[..., Any])


def mark(**marks: object) -> Callable[[View], View]:
    """Set attributes of a view. They survive `functools.wraps`."""

    def decorate(view: View) -> View:
        vars(view).update(marks)
        return view

    return decorate


public = mark(is_public=True)  # needs no identity, as every other view does: see `app.auth.identity`


def current_view() -> Callable[..., Any] | None:
    """The view of the current request, whose marks the hooks read; None if no route matches."""
    return current_app.view_functions.get(request.endpoint or "")


def is_public(view: Callable[..., Any] | None) -> bool:
    """Whether a view is marked `@public`."""
    return getattr(view, "is_public", False)
