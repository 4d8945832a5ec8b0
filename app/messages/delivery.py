"""Sends to each socket of this worker the messages that it has not been sent yet.

A wake-up names a conversation and its last number. One greenlet reads from the log what the participants' sockets lack,
for many conversations in one query. A socket gets each message once, in order, without gaps: it takes only the next
number, and what it lacks is read again.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import gevent
import structlog
from gevent.event import Event
from sqlalchemy.exc import SQLAlchemyError

from app.db.engine import is_unavailable
from app.messages import service
from app.messages.progress import Progress
from app.messages.values import MessageBatch
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.realtime.bus import Event as BusEvent
from app.realtime.close_codes import CloseCode
from app.realtime.connection import encode
from app.realtime.hub import Hub, Subscriber

RECONCILE_SECONDS = 10.0
RETRY_SECONDS = 0.25
# The limits of one query: with the longest messages, 20 MB.
CONVERSATIONS_A_QUERY = 50
MESSAGES_A_QUERY = 20  # of each conversation
TIMED_WAKE_UPS = 100  # of each conversation

log = structlog.get_logger(__name__)


class Reader(Subscriber, Protocol):
    """A socket that is sent its user's conversations."""

    progress: Progress


@dataclass
class _Target:
    """A conversation's last number, and the users whose sockets lack it."""

    seq: int
    looked_for: int = 0  # the last number when the log was read
    user_ids: set[UUID] = field(default_factory=set)
    woken_at: dict[int, float] = field(default_factory=dict)  # when a wake-up announced each number


class Delivery:
    """The delivery of one worker."""

    def __init__(self, hub: Hub[Reader], *, longest_transaction: timedelta) -> None:
        self._hub = hub
        self._longest_transaction = longest_transaction
        self._targets: dict[UUID, _Target] = {}
        self._has_targets = Event()
        self._must_reconcile = Event()
        self._changed_since: datetime | None = None

    def on_event(self, event: BusEvent) -> None:
        """Handle an event of the bus: schedule a message, and pass on anything else."""
        if event.kind == "message":
            self.schedule(event.conversation_id, event.seq, event.to)
            target = self._targets.get(event.conversation_id)
            if target is not None and len(target.woken_at) < TIMED_WAKE_UPS:
                target.woken_at[event.seq] = time.perf_counter()
            return
        text = encode(event.kind, {"conversation_id": event.conversation_id, **event.data})
        for reader in self._hub.subscribers_of(event.to):
            if not reader.progress.holds_all:  # `ready` comes first
                reader.connection.send(text, droppable=event.kind == "typing")

    def schedule(
        self, conversation_id: UUID, seq: int, user_ids: Iterable[UUID], *, seq_before: int | None = None
    ) -> None:
        """Schedule the conversation's messages up to `seq` for these users' sockets that have not been sent them.

        `seq_before` is the last number before the announced messages; by default, `seq - 1`.
        """
        lagging = []
        for reader in self._hub.subscribers_of(user_ids):
            reader.progress.track(conversation_id, seq - 1 if seq_before is None else seq_before)
            if reader.progress.lacks(conversation_id, seq):
                lagging.append(reader.user_id)
        if lagging:
            target = self._targets.setdefault(conversation_id, _Target(seq))
            target.seq = max(target.seq, seq)
            target.user_ids.update(lagging)
            self._has_targets.set()

    def reconcile_now(self) -> None:
        """Compare with the log, as wake-ups may have been lost."""
        self._must_reconcile.set()

    def deliver_forever(self) -> None:
        """Deliver scheduled conversations for ever. A failed read is tried again."""
        while True:
            self._has_targets.wait()
            try:
                if wanted := self._next_targets():
                    for conversation_id, batch in service.batches(wanted, limit=MESSAGES_A_QUERY).items():
                        self._fan_out(conversation_id, batch, wanted[conversation_id])
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    report_unexpected(error)
                gevent.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - the greenlet goes on; the sockets reconnect and read the log
                report_unexpected(error)
                self._lose_state()

    def reconcile_forever(self) -> None:
        """Compare with the log every `RECONCILE_SECONDS`, and after `reconcile_now`."""
        while True:
            self._must_reconcile.wait(RECONCILE_SECONDS)
            self._must_reconcile.clear()
            try:
                self._reconcile()
            except Exception as error:  # noqa: BLE001 - the greenlet tries again
                if not is_unavailable(error):
                    report_unexpected(error)
                gevent.sleep(RETRY_SECONDS)
                self._must_reconcile.set()

    def _next_targets(self) -> dict[UUID, int]:
        """Conversations with lagging sockets, with the last number that all of these have been sent."""
        wanted: dict[UUID, int] = {}
        for conversation_id, target in list(self._targets.items()):
            readers = self._lagging_subscribers(conversation_id, target)
            if not readers:
                del self._targets[conversation_id]
            elif len(wanted) < CONVERSATIONS_A_QUERY:
                wanted[conversation_id] = min(reader.progress.sent(conversation_id) for reader in readers)
                target.looked_for = target.seq
        if not self._targets:
            self._has_targets.clear()
        return wanted

    def _lagging_subscribers(self, conversation_id: UUID, target: _Target) -> list[Reader]:
        """The open sockets that lack messages of the conversation and can be sent them now."""
        lagging = []
        for reader in self._hub.subscribers_of(target.user_ids):
            reader.progress.track(conversation_id, target.seq)  # a socket that joined later starts at this number
            if reader.progress.lacks(conversation_id, target.seq):
                lagging.append(reader)
        return lagging

    def _fan_out(self, conversation_id: UUID, batch: MessageBatch, after_seq: int) -> None:
        """Send the messages to the sockets of the current participants, which the same query has read."""
        target = self._targets.pop(conversation_id)
        target.user_ids &= set(batch.participant_ids)
        if batch.messages or target.seq > target.looked_for:
            self._targets[conversation_id] = target  # to the end of the order of delivery
        texts = [(message.seq, encode("message", message)) for message in batch.messages]
        is_whole = [seq for seq, _ in texts] == list(range(after_seq + 1, after_seq + 1 + len(texts)))
        readers = self._lagging_subscribers(conversation_id, target)
        for reader in readers:
            if not is_whole:
                log.error("log_has_a_hole", conversation_id=str(conversation_id), after_seq=after_seq)
                reader.connection.close(CloseCode.STATE_LOST, "reconnect with your cursors")
                continue
            for seq, text in texts:
                if reader.connection.is_lagging:
                    reader.progress.wait_for_room(conversation_id, target.seq)
                    break
                if seq == reader.progress.sent(conversation_id) + 1:
                    reader.connection.send(text)
                    reader.progress.advance(conversation_id, seq)
        delivered_seq = max((reader.progress.sent(conversation_id) for reader in readers), default=0)
        for seq in [seq for seq in target.woken_at if seq <= delivered_seq]:
            metrics.BUS_LAG.observe(time.perf_counter() - target.woken_at.pop(seq))

    def _reconcile(self) -> None:
        users = self._hub.users()
        self._changed_since, changed, gone = service.changes(
            users, self._changed_since, longest_transaction=self._longest_transaction
        )
        before = len(self._targets)
        for change in changed:
            self.schedule(change.conversation_id, change.last_seq, [change.user_id], seq_before=change.seq_before)
        if missed := len(self._targets) - before:
            metrics.WAKE_UPS_RECONCILED.inc(missed)
            log.info("wake_ups_reconciled", conversations=missed)
        for reader in self._hub.subscribers_of(gone):
            reader.connection.close(CloseCode.REVOKED, "the account is gone")

    def _lose_state(self) -> None:
        for target in self._targets.values():
            for reader in self._hub.subscribers_of(target.user_ids):
                reader.connection.close(CloseCode.STATE_LOST, "reconnect with your cursors")
        self._targets.clear()
