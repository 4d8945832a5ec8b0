"""What clients saw and were promised, held against what the database has: the same, once, in order, without a gap."""

from collections.abc import Mapping, Sequence

from deploy.local.cluster import PostgresCluster
from deploy.local.processes import wait_until
from tests.slow.chaos.chat_client import ResumingClient

Ack = tuple[str, str, int]
"""(conversation, id, seq)"""


def stored(cluster: PostgresCluster) -> list[tuple[str, int, str, str]]:
    """(conversation, seq, id, client_msg_id) of every message, in order."""
    columns = "conversation_id, seq, id, client_msg_id"
    rows = cluster.psql(f"SELECT {columns} FROM messages ORDER BY conversation_id, seq", "gearyard")  # noqa: S608
    parted = (row.split("|") for row in rows.splitlines())
    return [(conversation, int(seq), identifier, sent_as) for conversation, seq, identifier, sent_as in parted]


def last_seqs(cluster: PostgresCluster) -> dict[str, int]:
    rows = cluster.psql("SELECT id, last_seq FROM conversations", "gearyard")
    return {conversation: int(seq) for conversation, seq in (row.split("|") for row in rows.splitlines())}


def settle(cluster: PostgresCluster, chat_clients: Sequence[ResumingClient], within_seconds: float) -> None:
    """Wait until they, who have fallen silent, wait for nothing and have seen everything."""

    def are_settled() -> bool:
        ends = last_seqs(cluster)
        return all(client.is_settled(ends) for client in chat_clients)

    assert wait_until(are_settled, within_seconds), [client.record.breaches for client in chat_clients]


def judge(
    cluster: PostgresCluster, chat_clients: Sequence[ResumingClient], acks_of_others: Mapping[str, Ack] | None = None
) -> int:
    """Fail where clients were told anything else than what is stored; the number of messages."""
    messages, ends = stored(cluster), last_seqs(cluster)
    assert [client.record.breaches for client in chat_clients] == [[] for _ in chat_clients]
    promised = {sent_as: promise for client in chat_clients for sent_as, promise in client.record.acks.items()}
    promised |= acks_of_others or {}
    assert promised == {sent_as: (talk, identifier, seq) for talk, seq, identifier, sent_as in messages}
    in_order: dict[str, list[tuple[int, str]]] = {talk: [] for talk in ends}
    for talk, seq, identifier, _ in messages:
        in_order[talk].append((seq, identifier))
    for talk, log in in_order.items():
        assert [seq for seq, _ in log] == list(range(1, ends[talk] + 1))
    for client in chat_clients:
        assert client.record.seen == {talk: in_order[talk] for talk in client.record.seen}
    return len(messages)
