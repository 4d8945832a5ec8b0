"""Idempotency-Key over real workers: a request that is sent many times at once has one effect."""

from collections.abc import Callable
from uuid import uuid4

import pytest
import requests

from tests.support.assertions import assert_error
from tests.support.keyed_client import KeyedClient, held, listings
from tests.support.processes.service import ServiceProcess
from tests.support.users import ChatUser
from tests.support.waiting import in_parallel


@pytest.fixture(scope="module")
def service(start_service: Callable[[dict[str, str]], ServiceProcess]) -> ServiceProcess:
    """The service with default settings, which other modules use as well."""
    return start_service({})


@pytest.fixture(scope="module")
def database_url(service: ServiceProcess) -> str:
    return service.database_url


@pytest.fixture
def client(newcomer: Callable[..., ChatUser]) -> KeyedClient:
    return KeyedClient(newcomer())


def test_a_post_sent_20_times_at_once_with_one_key_creates_one_listing(database_url: str, client: KeyedClient) -> None:
    for _ in range(5):
        client.renew()
        answers = in_parallel(lambda _: client.send())

        assert listings(database_url, client.title) == 1
        created = [answer for answer in answers if answer.status_code == requests.codes.created]
        assert sum("Idempotent-Replayed" not in answer.headers for answer in created) == 1
        for answer in answers:
            if answer not in created:
                assert_error(answer, 409, "CONFLICT")
                assert int(answer.headers["Retry-After"]) > 0
        again = in_parallel(lambda _: client.send_until_answered())
        assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again)
        assert {(answer.status_code, answer.content, answer.headers["Location"]) for answer in [*created, *again]} == {
            (201, created[0].content, created[0].headers["Location"])
        }
        assert listings(database_url, client.title) == 1


def test_a_message_sent_20_times_at_once_with_one_key_is_one_message(
    newcomer: Callable[..., ChatUser], client: KeyedClient
) -> None:
    talk = client.owner.begin(newcomer())
    for body in ({"content": "Is it free?"}, {"content": "And now?", "client_msg_id": uuid4().hex}):
        client.renew()
        answers = in_parallel(lambda _, body=body: client.send(f"/conversations/{talk}/messages", body))  # type: ignore[misc]
        assert {answer.status_code for answer in answers} <= {201, 409}
    kept = client.owner.messages(talk)
    assert [(message["seq"], message["content"]) for message in kept] == [(2, "And now?"), (1, "Is it free?")]


def test_while_a_request_is_answered_its_repetitions_are_refused_at_once(
    database_url: str, client: KeyedClient
) -> None:
    other = {**client.body, "title": "Other drill"}
    with held(database_url, client) as first:
        for answer in [*in_parallel(lambda _: client.send()), client.send(body=other)]:
            assert_error(answer, 409, "CONFLICT")
        assert not first.done()
    assert first.result().status_code == requests.codes.created
    assert client.send().content == first.result().content
    assert_error(client.send(body=other), 422, "IDEMPOTENCY_KEY_REUSED")
    assert listings(database_url, client.title) == 1
