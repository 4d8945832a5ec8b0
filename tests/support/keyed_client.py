"""A client that repeats a POST with an Idempotency-Key, and a request that is held in the middle."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import psycopg2
import requests

from tests.support.databases import LOCK_WAITS, scalar
from tests.support.users import NEW_LISTING, ChatUser
from tests.support.waiting import until

TOO_MANY_ROUNDS = 500


class KeyedClient:
    """The client of an owner; without other arguments it posts the same listing with the same key."""

    def __init__(self, owner: ChatUser) -> None:
        self.owner = owner.become_owner()
        self.renew()

    def renew(self) -> None:
        """Take another key and another title."""
        self.key = uuid4().hex
        self.title = f"Cordless drill {uuid4().hex}"
        self.body = {**NEW_LISTING, "title": self.title}

    def send(self, path: str = "/equipment", body: Any = None, key: str | None = None) -> requests.Response:
        """Send one request on a connection of its own."""
        headers = {"Idempotency-Key": key or self.key}
        answer: requests.Response = self.owner.call("POST", path, json=body or self.body, headers=headers)
        return answer

    def send_until_answered(self, body: Any = None, key: str | None = None) -> requests.Response:
        """Repeat the request after a lost connection, and when the service asks for it."""
        for _ in range(TOO_MANY_ROUNDS):
            try:
                answer = self.send(body=body, key=key)
            except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError):
                continue
            if answer.status_code == requests.codes.created:
                return answer
            assert answer.status_code in (requests.codes.conflict, requests.codes.unavailable), answer.text
            assert int(answer.headers["Retry-After"]) > 0
        raise AssertionError("it was never answered")


def listings(url: str, title: str) -> int:
    return int(scalar(url, "SELECT count(*) FROM equipment WHERE title = %s", title))


@contextmanager
def held(url: str, client: KeyedClient, *, table: str = "equipment") -> Iterator[Future[requests.Response]]:
    """The client's request has begun, and waits for this table until the block ends."""
    with closing(psycopg2.connect(url)) as holder, ThreadPoolExecutor() as threads:
        try:
            holder.cursor().execute(f"LOCK TABLE {table} IN SHARE MODE")
            sent = threads.submit(client.send)
            until(lambda: scalar(url, LOCK_WAITS) > 0)
            yield sent
        finally:
            holder.close()
