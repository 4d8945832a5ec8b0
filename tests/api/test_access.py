"""Each route for each role, with the user's own resources and with another user's: the status and the body."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from app import create_app
from app.models import Role
from app.settings import Settings
from app.web.access import is_public
from tests.support.processes.tenant import TenantProcess
from tests.support.routes import ANONYMOUS, PUBLIC_ENDPOINTS, ROLES, ROUTES, Route, Scene
from tests.support.rows import add_person
from tests.support.shapes import fits


def _cases() -> list[Any]:
    return [
        pytest.param(route, role, whose, status, id=f"{route} {whose} {role}")
        for route in ROUTES
        for whose, statuses in (("own", route.own), ("foreign", route.foreign))
        for role, status in zip(ROLES, statuses or (), strict=statuses is not None)
    ]


@pytest.mark.attack("roles and objects")
@pytest.mark.parametrize(("route", "role", "whose", "status"), _cases())
def test_access(client: FlaskClient, tenant: TenantProcess, route: Route, role: str, whose: str, status: int) -> None:
    actor = None if role == ANONYMOUS else add_person(tenant, Role(role))
    owner = actor if actor is not None and whose == "own" else add_person(tenant, Role.OWNER)
    path = route.path(Scene(actor=actor, owner=owner))
    headers = actor.headers if actor else {}
    body = route.body() if route.body else None
    with client.open(path, method=route.method, headers=headers, json=body) as answer:
        assert answer.status_code == status, answer.get_data(as_text=True)
        assert (status == 401) == ("WWW-Authenticate" in answer.headers)
        if status == 204:
            assert answer.data == b""
        elif status < 300 and route.answer is not None:
            assert fits(answer.json, route.answer, exact=route.exact), answer.json


def test_every_route_is_in_the_table(app: Flask) -> None:
    # This process cannot open a socket: see tests/realtime.
    rules = [rule for rule in app.url_map.iter_rules() if not rule.websocket]
    implied = {"HEAD", "OPTIONS"}  # Flask derives them
    routes = {(rule.endpoint, method) for rule in rules for method in (rule.methods or set()) - implied}
    assert routes == {(route.endpoint, route.method) for route in ROUTES}


def test_public_routes_are_these_and_no_others(app: Flask) -> None:
    public = {endpoint for endpoint, view in app.view_functions.items() if is_public(view)}
    assert public == PUBLIC_ENDPOINTS, f"public routes: {sorted(public)}"


def test_a_route_is_closed_unless_marked_public(settings: Settings, engine: Engine) -> None:
    app = create_app(settings)
    app.add_url_rule("/forgotten", view_func=lambda: "secret")
    assert app.test_client().get("/forgotten").status_code == 401


def test_head_is_as_closed_as_get(client: FlaskClient) -> None:
    assert client.head("/api/v1/auth/me").status_code == 401
