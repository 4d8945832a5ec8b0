"""How many messages a socket and a user may send in a time: the others are refused, and the socket stays open."""

import pytest

from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    """The limits of production."""
    return {}


def test_more_messages_than_allowed_are_refused_by_name_and_the_socket_stays(ada: ChatUser, talk: str) -> None:
    with ChatClient(ada) as client:
        for number in range(15):
            client.say("message", conversation_id=talk, content="Again", client_msg_id=f"m-{number}")
        frames = client.all_until_pong()
    acknowledged = [frame["payload"]["client_msg_id"] for frame in frames if frame["type"] == "ack"]
    refused = [frame["payload"] for frame in frames if frame["type"] == "error"]
    assert len(acknowledged) >= 10  # the burst
    assert refused
    assert {one["code"] for one in refused} == {"RATE_LIMITED"}
    assert all(one["retry_after"] >= 1 for one in refused)
    assert sorted(acknowledged + [one["client_msg_id"] for one in refused]) == sorted(f"m-{n}" for n in range(15))
    assert len(ada.messages(talk)) == len(acknowledged)


def test_all_sockets_of_a_user_together_may_not_send_as_much_as_each_alone(ada: ChatUser, talk: str) -> None:
    sockets = [ChatClient(ada) for _ in range(10)]
    for number in range(100):
        payload = {"conversation_id": talk, "content": "Again", "client_msg_id": f"m-{number}"}
        sockets[number % 10].say("message", **payload)
    frames = [frame for client in sockets for frame in client.all_until_pong()]
    refused = [frame["payload"]["code"] for frame in frames if frame["type"] == "error"]
    acknowledged = [frame for frame in frames if frame["type"] == "ack"]
    for client in sockets:
        client.close()
    assert set(refused) == {"RATE_LIMITED"}
    assert len(acknowledged) + len(refused) == 100
    assert len(acknowledged) >= 30
