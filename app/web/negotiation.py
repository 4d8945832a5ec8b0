"""What form an answer has. Everything is given as JSON; a view that gives another form, too, says so."""

from collections.abc import Callable
from typing import Any, TypeVar

from flask import Response, current_app, request

from app.errors import NotAcceptable
from app.web.accept import JSON, PROBLEM_JSON, best_of, is_named
from app.web.vary import vary_by

View = TypeVar("View", bound=Callable[..., Any])


def also_gives(*media_types: str) -> Callable[[View], View]:
    """Mark a view as giving these forms besides JSON; `chosen` tells it which is asked for."""

    def mark(view: View) -> View:
        view.also_gives = media_types  # type: ignore[attr-defined]
        return view

    return mark


def chosen() -> str:
    """The form to answer the current request in: JSON, or one that its view `also_gives`."""
    return best_of((JSON, *_others())) or JSON


def refuse_unacceptable() -> None:
    """Before anything is done, raise NotAcceptable for a client that takes no form of what this route gives.

    A client that asks for nothing but errors (`application/problem+json`) is not turned away: it may expect no content.
    """
    offered = (JSON, *_others())
    if request.method != "OPTIONS" and best_of(offered) is None and not is_named(PROBLEM_JSON):
        raise NotAcceptable(f"This is given as {' or '.join(offered)}, and Accept leaves that out.")


def vary_by_accept(response: Response) -> Response:
    """Tell caches that another Accept may be answered otherwise."""
    vary_by(response, "Accept")
    return response


def _others() -> tuple[str, ...]:
    view = current_app.view_functions.get(request.endpoint or "")
    others: tuple[str, ...] = getattr(view, "also_gives", ())
    return others
