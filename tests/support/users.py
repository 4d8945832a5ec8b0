"""A user of the chat and the requests of their client, to the app in this process or to a running service."""

import re
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID, uuid4

from flask.testing import FlaskClient

from tests.support.assertions import body_of
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.rows import Person

API = "/api/v1"
NEW_LISTING = {
    "category_id": "9a38d514-dbdb-51d1-ae7b-b194992a2ceb",  # one of the default categories
    "title": "Cordless drill",
    "description": "18 V with two batteries and a case.",
    "daily_rate": "25.00",
    "condition": "good",
    "location": "Bern, Switzerland",
}
_NEXT = re.compile(r'<(?P<url>[^>]+)>; rel="next"')


@dataclass(frozen=True)
class ChatUser:
    """A user that is known to the service, with an access token.

    `get` and `post` take paths below that of conversations, `call` takes paths below the API's.
    """

    id: str
    token: str
    server: FlaskClient | ServiceProcess

    @property
    def uuid(self) -> UUID:
        return UUID(self.id)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def service(self) -> ServiceProcess:
        assert isinstance(self.server, ServiceProcess)
        return self.server

    @property
    def client(self) -> FlaskClient:
        assert isinstance(self.server, FlaskClient)
        return self.server

    @property
    def username(self) -> str:
        return str(body_of(self.call("GET", f"/users/{self.id}"))["username"])

    def call(self, method: str, path: str, *, params: dict[str, Any] | None = None, **options: Any) -> Any:
        """Send a request with the user's token; the response of Flask's test client or of requests."""
        return self._send(method, API + path, params or {}, **options)

    def get(self, path: str = "", **query: Any) -> Any:
        return self.call("GET", f"/conversations{path}", params=query)

    def post(self, path: str = "", **body: Any) -> Any:
        return self.call("POST", f"/conversations{path}", json=body)

    def begin(self, *others: "ChatUser", equipment_id: UUID | str | None = None) -> str:
        """The id of the conversation with these users."""
        listing = None if equipment_id is None else str(equipment_id)
        answer = self.post(participant_ids=[other.id for other in others], equipment_id=listing)
        return str(_checked(answer, 200, 201)["id"])

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        return dict(_checked(self.get(f"/{conversation_id}")))

    def conversations(self, **query: Any) -> list[str]:
        """The ids of a page of the user's conversations."""
        return [each["id"] for each in _checked(self.get(**query))]

    def send(self, conversation_id: str, content: str = "Hello", **more: Any) -> dict[str, Any]:
        """Send a message; the message as the response shows it."""
        answer = self.post(f"/{conversation_id}/messages", content=content, **more)
        return dict(_checked(answer, 200, 201))

    def messages(self, conversation_id: str, **query: Any) -> list[dict[str, Any]]:
        return list(_checked(self.get(f"/{conversation_id}/messages", **query)))

    def seqs(self, conversation_id: str, **query: Any) -> list[int]:
        """The numbers of a page of messages."""
        return [message["seq"] for message in self.messages(conversation_id, **query)]

    def read(self, conversation_id: str, **body: Any) -> None:
        answer = self.post(f"/{conversation_id}/read", **body)
        assert (answer.status_code, getattr(answer, "content", b"") or getattr(answer, "data", b"")) == (204, b"")

    def walk(self, path: str = "", **query: Any) -> list[list[dict[str, Any]]]:
        """All pages from this one on, by `Link: rel="next"`."""
        answer = self.get(path, **query)
        pages = [list(_checked(answer))]
        while found := _NEXT.fullmatch(answer.headers.get("Link", "")):
            assert len(pages) < 99
            answer = self._send("GET", found["url"], {})
            pages.append(list(_checked(answer)))
        return pages

    def become_owner(self) -> Self:
        assert _checked(self.call("PUT", "/users/me/owner-profile", json={"business_info": {}}))["role"] == "owner"
        return self

    def list_equipment(self, **changes: Any) -> str:
        """The id of a new listing of this owner."""
        return str(_checked(self.call("POST", "/equipment", json={**NEW_LISTING, **changes}), 201)["id"])

    def _send(self, method: str, url: str, params: dict[str, Any], **options: Any) -> Any:
        headers = {**self.headers, **options.pop("headers", {})}
        if isinstance(self.server, ServiceProcess):
            return self.server.request(method, url, headers=headers, params=params, **options)
        return self.server.open(url, method=method, headers=headers, query_string=params or None, **options)


def _checked(answer: Any, *statuses: int) -> Any:
    body = body_of(answer)
    assert answer.status_code in (statuses or (200,)), body
    return body


def chat_user(client: FlaskClient, person: Person) -> ChatUser:
    return ChatUser(str(person.id), person.token, client)


def new_user(service: ServiceProcess, tenant: TenantProcess, **claims: Any) -> ChatUser:
    """A new user of a running service, which makes the user at the first request; `claims` are the token's."""
    user = ChatUser("", tenant.token(**{"sub": f"auth0|{uuid4().hex}", **claims}), service)
    return ChatUser(str(_checked(user.call("GET", "/auth/me"))["id"]), user.token, service)
