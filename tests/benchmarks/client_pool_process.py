"""Many sockets in a process of their own, by a client that is not the server's own library.

Reads a plan, one line of JSON, from standard input, and writes what came of it, one line of JSON each:

1. when all sockets are open: how many
2. with `messages` in the plan: what became of them; without: nothing, until another line comes or the input ends
"""

import asyncio
import json
import resource
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

CONNECTS_AT_ONCE = 32
OPEN_SECONDS = 60
SETTLE_SECONDS = 10
CONTENT = "Is it free from Friday to Sunday, and could I pick it up on Thursday evening?"


@dataclass(frozen=True)
class Seat:
    token: str
    conversation_id: str


@dataclass(frozen=True)
class Plan:
    """What is to be done. `messages` in all, so many a second; none where the sockets are only to be open."""

    url: str
    seats: list[Seat]
    messages: int = 0
    per_second: float = 0


@dataclass
class Record:
    """When each message was sent, and what was heard of it where. Times are of one clock, in seconds."""

    sent_at: dict[str, float] = field(default_factory=dict)
    ack_seconds: dict[str, float] = field(default_factory=dict)
    deliver_seconds: list[float] = field(default_factory=list)
    heard: Counter[tuple[int, str]] = field(default_factory=Counter)
    latest_seq: dict[tuple[int, str], int] = field(default_factory=dict)
    disorder: int = 0
    errors: list[Any] = field(default_factory=list)

    def note(self, seat: int, frame: dict[str, Any], is_sender: dict[str, int]) -> None:
        """Take a frame down that this seat has heard."""
        now, payload = time.perf_counter(), frame.get("payload", {})
        name = payload.get("client_msg_id")
        if frame["type"] == "ack":
            self.ack_seconds[name] = now - self.sent_at[name]
        elif frame["type"] == "message":
            self.heard[seat, name] += 1
            if is_sender[name] != seat:
                self.deliver_seconds.append(now - self.sent_at[name])
            place = seat, payload["conversation_id"]
            self.disorder += payload["seq"] <= self.latest_seq.get(place, 0)
            self.latest_seq[place] = payload["seq"]
        elif frame["type"] == "error":
            self.errors.append(payload)


class ClientPool:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sockets: list[ClientConnection] = []
        self._record = Record()
        self._sender: dict[str, int] = {}
        self._together: dict[str, list[int]] = defaultdict(list)
        for number, seat in enumerate(plan.seats):
            self._together[seat.conversation_id].append(number)

    async def open(self) -> None:
        """Open every socket; returns when each is `ready`."""
        gate = asyncio.Semaphore(CONNECTS_AT_ONCE)

        async def open_one(seat: Seat) -> ClientConnection:
            async with gate:
                socket = await connect(
                    f"{self._plan.url}?v=2",
                    additional_headers={"Authorization": f"Bearer {seat.token}"},
                    compression=None,
                    ping_interval=None,  # the server asks, and that is answered
                    open_timeout=OPEN_SECONDS,
                    proxy=None,
                )
                frame = json.loads(await socket.recv())
                if frame["type"] != "ready":
                    raise RuntimeError(f"a socket was not ready but heard {frame}")
                return socket

        self._sockets = list(await asyncio.gather(*map(open_one, self._plan.seats)))

    async def talk(self) -> dict[str, Any]:
        """Send the messages, evenly, by all in turn; what became of them."""
        readers = [asyncio.create_task(self._read(number)) for number in range(len(self._sockets))]
        began_at = time.perf_counter()
        await self._send_all(began_at)
        took = time.perf_counter() - began_at
        deadline = time.perf_counter() + SETTLE_SECONDS
        while not self._is_settled and time.perf_counter() < deadline:
            await asyncio.sleep(0.05)
        for reader in readers:
            reader.cancel()
        return self._outcome(took)

    async def _send_all(self, began_at: float) -> None:
        order = list(range(len(self._sockets)))
        Random(len(order)).shuffle(order)
        for number in range(self._plan.messages):
            await asyncio.sleep(max(0.0, began_at + number / self._plan.per_second - time.perf_counter()))
            seat = order[number % len(order)]
            payload = {
                "conversation_id": self._plan.seats[seat].conversation_id,
                "content": CONTENT,
                "client_msg_id": f"m{number}",
            }
            self._sender[f"m{number}"] = seat
            self._record.sent_at[f"m{number}"] = time.perf_counter()
            await self._sockets[seat].send(json.dumps({"type": "message", "payload": payload}))

    async def _read(self, number: int) -> None:
        async for text in self._sockets[number]:
            self._record.note(number, json.loads(text), self._sender)

    def _expected(self) -> set[tuple[int, str]]:
        """Every socket that each message must have been heard on."""
        return {
            (listener, name)
            for name, sender in self._sender.items()
            for listener in self._together[self._plan.seats[sender].conversation_id]
        }

    @property
    def _is_settled(self) -> bool:
        expected = sum(
            len(self._together[self._plan.seats[sender].conversation_id]) for sender in self._sender.values()
        )
        return len(self._record.ack_seconds) == len(self._sender) and self._record.heard.total() >= expected

    def _outcome(self, took: float) -> dict[str, Any]:
        record, expected = self._record, self._expected()
        return {
            "per_second": len(self._sender) / took,
            "ack_ms": percentiles_ms(list(record.ack_seconds.values())),
            "deliver_ms": percentiles_ms(record.deliver_seconds),
            "unacknowledged": len(self._sender) - len(record.ack_seconds),
            "lost": len(expected - record.heard.keys()),
            "heard_twice": sum(times - 1 for times in record.heard.values()) + len(record.heard.keys() - expected),
            "disorder": record.disorder,
            "errors": record.errors[:5],
        }

    async def close(self) -> None:
        await asyncio.gather(*(socket.close() for socket in self._sockets))

    def still_open(self) -> int:
        """How many have not been closed by the server."""
        return sum(socket.close_code is None for socket in self._sockets)


def percentiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """The 50th and the 99th percentile, in milliseconds; none of fewer than two."""
    if len(seconds) < 2:
        return {}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"p50": cuts[49] * 1000, "p99": cuts[98] * 1000}


async def _main() -> None:
    given = json.loads(sys.stdin.readline())
    plan = Plan(**{**given, "seats": [Seat(**seat) for seat in given["seats"]]})
    client_pool = ClientPool(plan)
    await client_pool.open()
    _say({"open": len(plan.seats)})
    if plan.messages:
        _say(await client_pool.talk())
    else:
        await asyncio.to_thread(sys.stdin.readline)
        _say({"open": client_pool.still_open()})
    await client_pool.close()


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_main())
