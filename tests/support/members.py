"""People who write to each other through a running service, and what their clients do over REST."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import requests

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess

API = "/api/v1"


@dataclass(frozen=True)
class Member:
    """Somebody known to the service, with a token."""

    id: str
    token: str
    service: ServiceProcess

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request of theirs to a path below the API's."""
        return self.service.request(method, f"{API}{path}", headers=self.headers, **options)

    def begin(self, *others: "Member", equipment_id: str | None = None) -> str:
        """The id of their conversation with these people."""
        body = {"participant_ids": [other.id for other in others], "equipment_id": equipment_id}
        answer = self.call("POST", "/conversations", json=body)
        assert answer.status_code in (200, 201), answer.text
        return str(answer.json()["id"])

    def send(self, conversation_id: str, content: str, client_msg_id: str | None = None) -> dict[str, Any]:
        """Send a message over REST."""
        body = {"content": content, "client_msg_id": client_msg_id}
        answer = self.call("POST", f"/conversations/{conversation_id}/messages", json=body)
        assert answer.status_code in (200, 201), answer.text
        sent: dict[str, Any] = answer.json()
        return sent

    def messages(self, conversation_id: str, **query: Any) -> list[dict[str, Any]]:
        """What they read of a conversation over REST."""
        answer = self.call("GET", f"/conversations/{conversation_id}/messages", params=query)
        assert answer.status_code == requests.codes.ok, answer.text
        found: list[dict[str, Any]] = answer.json()
        return found


def new_member(service: ServiceProcess, tenant: TenantProcess, **claims: Any) -> Member:
    """Somebody new, who has used the service once."""
    token = tenant.token(sub=f"auth0|{uuid4().hex}", **claims)
    answer = service.request("GET", f"{API}/auth/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == requests.codes.ok, answer.text
    return Member(id=answer.json()["id"], token=token, service=service)
