"""What the client does over REST: signing in, staying so, and reading what there is before the socket opens."""

import time
from typing import Any
from uuid import UUID

import requests

API = "/api/v1"
TIMEOUT_SECONDS = 10
# A token with less than this left is renewed before it is used.
TOKEN_RESERVE_SECONDS = 30


class Failure(Exception):
    """What went wrong, in a sentence for the person at the terminal."""


class Unreachable(Failure):
    """The service does not answer now."""


class Refused(Failure):
    """The service answered no; `status` is HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Account:
    """Somebody's access to the service at `url`. Every method raises Unreachable or Refused."""

    def __init__(self, url: str, email: str, password: str) -> None:
        self.url = url.rstrip("/")
        self._credentials = {"email": email, "password": password}
        self._http = requests.Session()
        self._http.trust_env = False  # the socket knows no proxies either, and a .netrc would replace the token
        self._tokens: dict[str, Any] = {}
        self._expires_at = 0.0

    def sign_in(self) -> None:
        """Exchange e-mail and password for tokens."""
        self._keep(self._call("POST", "/auth/auth0/login", json=self._credentials))

    def token(self, *, fresh: bool = False) -> str:
        """An access token that is good for a while; another one than before if it must be `fresh`."""
        # By the wall clock: the other one stands still while a laptop sleeps, and the token's does not.
        if fresh or time.time() > self._expires_at - TOKEN_RESERVE_SECONDS:
            self._renew()
        return str(self._tokens["access_token"])

    def me(self) -> dict[str, Any]:
        """Who one is."""
        found: dict[str, Any] = self._authorised("GET", "/auth/me")
        return found

    def conversations(self, limit: int) -> list[dict[str, Any]]:
        """One's conversations, latest activity first."""
        found: list[dict[str, Any]] = self._authorised("GET", "/conversations", params={"limit": limit})
        return found

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        """One of one's conversations."""
        found: dict[str, Any] = self._authorised("GET", f"/conversations/{conversation_id}")
        return found

    def open(self, some_id: UUID) -> dict[str, Any]:
        """The conversation of this id; or, if it is a listing's, the one with its owner, begun if need be."""
        try:
            return self.conversation(str(some_id))
        except Refused as refusal:
            if refusal.status != requests.codes.not_found:
                raise
        try:
            found: dict[str, Any] = self._authorised("POST", "/conversations", json={"equipment_id": str(some_id)})
        except Refused as refusal:
            if self.title(str(some_id)) is None:
                raise Refused(f"There is no conversation and no listing {some_id}.", refusal.status) from refusal
            # To its owner the service says that there is nobody else to write to.
            message = f"You cannot begin one about this listing. {str(refusal).removeprefix('participant_ids: ')}"
            raise Refused(message, refusal.status) from refusal
        return found

    def latest(self, conversation_id: str, limit: int) -> list[dict[str, Any]]:
        """The newest messages of a conversation, oldest first."""
        found: list[dict[str, Any]] = self._authorised(
            "GET", f"/conversations/{conversation_id}/messages", params={"limit": limit}
        )
        return found[::-1]

    def title(self, equipment_id: str | None) -> str | None:
        """What a listing is called; None where there is none."""
        if equipment_id is None:
            return None
        try:
            return str(self._call("GET", f"/equipment/{equipment_id}")["title"])
        except Refused:
            return None

    def _renew(self) -> None:
        refresh_token = self._tokens.get("refresh_token")
        if refresh_token is not None:
            try:
                self._keep(self._call("POST", "/auth/auth0/refresh", json={"refresh_token": refresh_token}))
            except Refused:
                pass  # it may have been revoked or have run out; the password is still there
            else:
                return
        self.sign_in()

    def _keep(self, tokens: dict[str, Any]) -> None:
        # A tenant that does not rotate refresh tokens answers without one: then the old one stays good.
        self._tokens |= {name: value for name, value in tokens.items() if value is not None}
        self._expires_at = time.time() + tokens["expires_in"]

    def _authorised(self, method: str, path: str, **options: Any) -> Any:
        return self._call(method, path, headers={"Authorization": f"Bearer {self.token()}"}, **options)

    def _call(self, method: str, path: str, **options: Any) -> Any:
        try:
            answer = self._http.request(method, self.url + API + path, timeout=TIMEOUT_SECONDS, **options)
        except requests.RequestException as error:
            raise Unreachable(f"No service answers at {self.url}.") from error
        body = _json(answer)
        if answer.ok and body is not None:
            return body
        message = body.get("message") if isinstance(body, dict) else None
        if message is None:
            raise Refused(f"What answers at {self.url} is not this service (HTTP {answer.status_code}).", 0)
        if answer.status_code == requests.codes.service_unavailable:
            raise Unreachable(str(message))
        raise Refused(str(message), answer.status_code)


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
