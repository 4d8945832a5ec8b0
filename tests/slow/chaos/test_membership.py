"""Who takes part is asked of the database each time: a membership that ends, ends for open sockets too."""

from collections.abc import Callable, Iterator

import pytest

from deploy.local.cluster import PostgresCluster
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import ChatUser
from tests.support.ws_client import ChatClient


@pytest.fixture(scope="module")
def database_url(database_url_factory: Callable[[], str]) -> str:
    return database_url_factory()


@pytest.fixture(scope="module")
def service(database_url: str, tenant: TenantProcess, bus_settings: dict[str, str]) -> Iterator[ServiceProcess]:
    """A service whose database the test changes behind its back."""
    with ServiceProcess({"DATABASE_URL": database_url, **tenant.env(), **bus_settings, **GENEROUS_CHAT}) as running:
        yield running


@pytest.fixture
def sql(cluster: PostgresCluster, database_url: str) -> Callable[[str], str]:
    """Runs a statement on the service's database."""
    name = database_url.split("/")[3].partition("?")[0]
    return lambda statement: cluster.psql(statement, name)


def test_who_was_taken_out_hears_nothing_more_and_can_do_nothing_more(
    ada: ChatUser, ben: ChatUser, stranger: ChatUser, sql: Callable[[str], str]
) -> None:
    crowd = ada.begin(ben, stranger)
    with ChatClient(ben) as removed, ChatClient(stranger) as remaining:
        ada.send(crowd, "Before")
        assert removed.expect("message")["seq"] == remaining.expect("message")["seq"] == 1
        sql(f"DELETE FROM conversation_participants WHERE conversation_id = '{crowd}' AND user_id = '{ben.id}'")  # noqa: S608
        ada.send(crowd, "After")
        ada.call("POST", f"/conversations/{crowd}/read", json={})
        heard = [remaining.hear() for _ in range(2)]  # a mark can come before the message that it is about
        assert {frame["type"] for frame in heard} == {"message", "read"}
        # What was for all has gone out, and none of it to the one who was taken out.
        for kind, payload in (
            ("message", {"content": "Me too"}),
            ("typing", {}),
            ("read", {}),
            ("sync", {"after_seq": 0}),
        ):
            removed.say(kind, conversation_id=crowd, **payload)
            assert removed.expect("error")["code"] == "FORBIDDEN"
        assert removed.all_until_pong() == []
    with ChatClient(ben, cursors={crowd: 0}) as again:
        assert again.ready["conversations"] == []
        assert again.expect("sync") == {"conversation_id": crowd, "messages": [], "complete": True, "reset": True}


def test_a_deleted_user_is_let_go(ada: ChatUser, ben: ChatUser, talk: str, sql: Callable[[str], str]) -> None:
    with ChatClient(ben) as client:
        sql(f"DELETE FROM users WHERE id = '{ben.id}'")  # noqa: S608
        ada.send(talk, "Are you there?")
        assert client.close_code() == 4503
