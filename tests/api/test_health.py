"""Whether a worker says that it lives, and that it is ready. With the database away: tests/live/test_database.py."""

import pytest
from flask import Flask
from flask.testing import FlaskClient


@pytest.fixture
def draining(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was told to stop."""
    monkeypatch.setattr(app.extensions["live"].hub, "is_draining", True)


def test_a_worker_is_ready(client: FlaskClient) -> None:
    assert (client.get("/ready").status_code, client.get("/ready").text) == (200, "ready")


def test_a_worker_that_drains_is_alive_and_not_ready(client: FlaskClient, draining: None) -> None:
    answer = client.get("/ready")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json is not None
    assert answer.json["code"] == "SERVICE_UNAVAILABLE"
    assert client.get("/health").text == "ok"
