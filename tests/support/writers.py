"""Somebody who writes to others through the API, and what their client does for it."""

import re
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.rows import Person

API = "/api/v1/conversations"
_NEXT = re.compile(r'<(?P<url>[^>]+)>; rel="next"')


@dataclass(frozen=True)
class Writer:
    """A person at the API; paths are below that of conversations."""

    client: FlaskClient
    person: Person

    @property
    def id(self) -> str:
        return str(self.person.id)

    @property
    def username(self) -> str:
        """What everybody may know them by."""
        return str((self.client.get(f"/api/v1/users/{self.id}").json or {})["username"])

    def get(self, path: str = "", **query: Any) -> TestResponse:
        return self.client.get(API + path, query_string=query, headers=self.person.headers)

    def post(self, path: str = "", **body: Any) -> TestResponse:
        return self.client.post(API + path, json=body, headers=self.person.headers)

    def begin(self, *others: "Writer", equipment_id: UUID | None = None) -> str:
        """The id of their conversation with these people."""
        answer = self.post(participant_ids=[one.id for one in others], equipment_id=equipment_id and str(equipment_id))
        assert answer.status_code in (200, 201), answer.json
        return str((answer.json or {})["id"])

    def conversation(self, talk: str) -> dict[str, Any]:
        """One of theirs, as they see it."""
        answer = self.get(f"/{talk}")
        assert answer.status_code == 200, answer.json
        return dict(answer.json or {})

    def conversations(self, **query: Any) -> list[str]:
        """The ids of a page of theirs."""
        answer = self.get(**query)
        assert answer.status_code == 200, answer.json
        return [one["id"] for one in answer.json or []]

    def send(self, talk: str, content: str = "Hello", **more: Any) -> dict[str, Any]:
        """The message, as the answer to sending it shows it."""
        answer = self.post(f"/{talk}/messages", content=content, **more)
        assert answer.status_code in (200, 201), answer.json
        return dict(answer.json or {})

    def messages(self, talk: str, **query: Any) -> list[dict[str, Any]]:
        """A page of messages."""
        answer = self.get(f"/{talk}/messages", **query)
        assert answer.status_code == 200, answer.json
        return list(answer.json or [])

    def seqs(self, talk: str, **query: Any) -> list[int]:
        """The numbers of a page of messages."""
        return [message["seq"] for message in self.messages(talk, **query)]

    def read(self, talk: str, **body: Any) -> None:
        """Say how far they have read."""
        answer = self.post(f"/{talk}/read", **body)
        assert (answer.status_code, answer.data) == (204, b""), answer.json

    def walk(self, path: str = "", **query: Any) -> list[list[dict[str, Any]]]:
        """Every page from this one on, as `Link: rel="next"` leads."""
        answer = self.get(path, **query)
        pages = [list(answer.json or [])]
        while found := _NEXT.fullmatch(answer.headers.get("Link", "")):
            assert len(pages) < 99
            answer = self.client.get(found["url"], headers=self.person.headers)
            assert answer.status_code == 200, answer.json
            pages.append(list(answer.json or []))
        return pages


def problems(answer: TestResponse) -> list[tuple[str, str]]:
    """Which field a 400 is about, and the word for what is wrong with it."""
    body = answer.json or {}
    assert (answer.status_code, body.get("code")) == (400, "VALIDATION_ERROR"), body
    return [(problem["field"], problem["code"]) for problem in body["details"]]


def refused_fields(answer: TestResponse) -> set[str]:
    """The fields of the body or query that a 400 is about."""
    return {field.partition(".")[0] for field, _ in problems(answer)}
