"""The database and the bus go away and come back: sockets stay, nothing is acknowledged in vain, nothing is missed."""

import pytest

from app.db.engine import LISTENER_NAME
from deploy.local.cluster import PostgresCluster
from tests.support.processes.redis import RedisProcess
from tests.support.processes.service import GENEROUS_CHAT, ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.users import new_user
from tests.support.waiting import until
from tests.support.ws_client import ChatClient

SENDS_WHILE_AWAY = 5
WORKERS = 2


@pytest.fixture(scope="module")
def database_url(own_cluster: PostgresCluster) -> str:
    return own_cluster.url("gearyard")


@pytest.fixture(scope="module")
def service_settings() -> dict[str, str]:
    return GENEROUS_CHAT


def test_while_the_database_is_away_sockets_stay_and_senders_are_told(
    own_cluster: PostgresCluster, service: ServiceProcess, tenant: TenantProcess
) -> None:
    ada, ben = new_user(service, tenant), new_user(service, tenant)
    talk = ada.begin(ben)
    with ChatClient(ada) as sender, ChatClient(ben) as listener:
        own_cluster.kill()
        for number in range(SENDS_WHILE_AWAY):
            sender.say("message", conversation_id=talk, content=f"{number}", client_msg_id=f"m-{number}")
            error = sender.expect("error")
            assert (error["code"], error["client_msg_id"]) == ("UNAVAILABLE", f"m-{number}")
            assert error["retry_after"] >= 1
        for kind in ("typing", "read"):
            sender.say(kind, conversation_id=talk)
            assert sender.expect("error")["code"] == "UNAVAILABLE"
        assert sender.all_until_pong() == listener.all_until_pong() == []
        own_cluster.start()
        for number in range(SENDS_WHILE_AWAY):
            sender.say("message", conversation_id=talk, content=f"{number}", client_msg_id=f"m-{number}")
            ack = sender.find("ack")
            assert (ack["seq"], ack["duplicate"]) == (number + 1, False)
        assert [listener.expect("message")["seq"] for _ in range(SENDS_WHILE_AWAY)] == [1, 2, 3, 4, 5]


def test_a_listener_that_was_cut_off_reads_what_it_missed(
    own_cluster: PostgresCluster, service: ServiceProcess, tenant: TenantProcess
) -> None:
    ada, ben = new_user(service, tenant), new_user(service, tenant)
    talk = ada.begin(ben)
    ended = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = '{LISTENER_NAME}'"  # noqa: S608
    with ChatClient(ben) as listener:
        for number in range(1, 21):
            until(lambda: int(own_cluster.psql(ended)) > 0)
            ada.send(talk, f"{number}")
        assert [listener.expect("message")["seq"] for _ in range(20)] == list(range(1, 21))


def test_a_backlog_larger_than_an_outbox_reaches_who_reads_it(
    environment: dict[str, str], tenant: TenantProcess
) -> None:
    with (
        RedisProcess() as redis,
        ServiceProcess(environment | {"REDIS_URL": redis.url, "WS_OUTBOX_FRAMES": "16"}) as service,
    ):
        people = [new_user(service, tenant) for _ in range(4)]
        reader, writers = people[0], people[1:]
        talks = [(writer, writer.begin(reader)) for writer in writers]
        until(lambda: service.log().count("bus_connected") == WORKERS)
        with ChatClient(reader) as of_now, ChatClient(reader, version=1) as of_old:
            redis.kill()
            for writer, talk in talks:
                for number in range(30):
                    writer.send(talk, f"{number}")
            redis.start()
            for client in (of_now, of_old):
                heard = [client.expect("message") for _ in range(90)]
                for _, talk in talks:
                    assert [one["seq"] for one in heard if one["conversation_id"] == talk] == list(range(1, 31))
