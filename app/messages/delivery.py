"""How the sockets of this worker are brought up to date with their conversations.

A wake-up says that a conversation has come to a number. One greenlet a worker reads what the sockets of its
participants have not seen, for many conversations in one query, and puts it into their outboxes. A socket gets each
message once, in order, without gaps: it takes only the very next number, and whatever it lacks is read again.
"""

import time
from collections import deque
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
from app.messages import frames, service
from app.messages.progress import Progress
from app.messages.projection import MessageView
from app.observability import metrics
from app.observability.failures import report_unexpected
from app.realtime.bus import Event as BusEvent
from app.realtime.close_codes import CloseCode
from app.realtime.hub import Hub, Subscriber

RECONCILE_SECONDS = 10.0
RETRY_SECONDS = 0.25
# What one query may bring: at the worst, of the longest messages, 20 MB.
CONVERSATIONS_A_QUERY = 50
MESSAGES_A_QUERY = 20  # of each conversation
TIMED_WAKE_UPS = 100  # of each conversation, at most

log = structlog.get_logger(__name__)


class Reader(Subscriber, Protocol):
    """A socket that is sent its user's conversations."""

    @property
    def progress(self) -> Progress:
        """How far it has been sent them."""


@dataclass
class _Target:
    """What a conversation has come to, whose sockets are to hear of it, and what it had come to when it was read.

    `heard` is of each number that a wake-up has announced, and when that came.
    """

    seq: int
    looked_for: int = 0
    user_ids: set[UUID] = field(default_factory=set)
    heard: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=TIMED_WAKE_UPS))

    def note_delivered(self, last_seq: int) -> None:
        """All up to this number is in the outboxes of the sockets here, or of those at least that have room."""
        for _ in range(len(self.heard)):
            seq, heard_at = self.heard.popleft()
            if seq > last_seq:
                self.heard.append((seq, heard_at))
            else:
                metrics.BUS_LAG.observe(time.perf_counter() - heard_at)


class Delivery:
    """Brings the sockets of one worker up to date."""

    def __init__(self, hub: Hub[Reader], *, longest_transaction: timedelta) -> None:
        self._hub = hub
        self._longest_transaction = longest_transaction
        self._targets: dict[UUID, _Target] = {}
        self._has_targets = Event()
        self._must_reconcile = Event()
        self._changed_since: datetime | None = None
        self.reconciled = 0

    def hear(self, event: BusEvent) -> None:
        """Take an event from the bus: pass it on, or look at what it announces."""
        if event.kind == "message":
            self.expect(event.conversation_id, event.seq, event.to)
            if event.conversation_id in self._targets:
                self._targets[event.conversation_id].heard.append((event.seq, time.perf_counter()))
            return
        text = frames.passed_on(event)
        for reader in self._hub.subscribers_of(event.to):
            if not reader.progress.holds_all:  # `ready` comes first
                reader.connection.send(text, droppable=event.kind == "typing")

    def expect(
        self, conversation_id: UUID, seq: int, user_ids: Iterable[UUID], *, seq_before: int | None = None
    ) -> None:
        """Let these users' sockets here be sent the conversation up to `seq`, if they have not been yet.

        `seq_before` is where it stood before what is announced: just before `seq`, if nothing else is said.
        """
        behind = []
        for reader in self._hub.subscribers_of(user_ids):
            reader.progress.meet(conversation_id, seq - 1 if seq_before is None else seq_before)
            if reader.progress.is_behind(conversation_id, seq):
                behind.append(reader.user_id)
        if behind:
            target = self._targets.setdefault(conversation_id, _Target(seq))
            target.seq = max(target.seq, seq)
            target.user_ids.update(behind)
            self._has_targets.set()

    def reread(self) -> None:
        """Something may have been missed: look at the log itself."""
        self._must_reconcile.set()

    def deliver_forever(self) -> None:
        """Send what is expected, as it is expected. A failure is tried again; nothing expected is forgotten."""
        while True:
            self._has_targets.wait()
            try:
                self._deliver()
            except SQLAlchemyError as error:
                if not is_unavailable(error):
                    report_unexpected(error)
                gevent.sleep(RETRY_SECONDS)
            except Exception as error:  # noqa: BLE001 - this greenlet must not end; the sockets start again from the log
                report_unexpected(error)
                self._lose_state()

    def reconcile_forever(self) -> None:
        """Compare with the log from time to time, and whenever something may have been missed."""
        while True:
            self._must_reconcile.wait(RECONCILE_SECONDS)
            self._must_reconcile.clear()
            try:
                self._reconcile()
            except Exception as error:  # noqa: BLE001 - as above: it is tried again
                if not is_unavailable(error):
                    report_unexpected(error)
                gevent.sleep(RETRY_SECONDS)
                self._must_reconcile.set()

    def _deliver(self) -> None:
        batch = self._behind()
        if not self._targets:
            self._has_targets.clear()
        if not batch:
            return
        found = service.batches(batch, limit=MESSAGES_A_QUERY)
        for conversation_id, (participant_ids, messages) in found.items():
            self._fan_out(conversation_id, participant_ids, messages, batch[conversation_id])

    def _behind(self) -> dict[UUID, int]:
        """Conversations with sockets that lack something, and behind which number the first of them does."""
        batch: dict[UUID, int] = {}
        for conversation_id, target in list(self._targets.items()):
            lacking = [reader.progress.sent(conversation_id) for reader in self._lacking(conversation_id, target)]
            if not lacking:
                del self._targets[conversation_id]
            elif len(batch) < CONVERSATIONS_A_QUERY:
                batch[conversation_id] = min(lacking)
                target.looked_for = target.seq
        return batch

    def _lacking(self, conversation_id: UUID, target: _Target) -> list[Reader]:
        """The sockets that are to be sent something of it now."""
        lacking = []
        for reader in self._hub.subscribers_of(target.user_ids):
            reader.progress.meet(conversation_id, target.seq)  # one that has come since knows what was there
            if not reader.connection.is_closing and reader.progress.is_behind(conversation_id, target.seq):
                lacking.append(reader)
        return lacking

    def _fan_out(
        self, conversation_id: UUID, participant_ids: tuple[UUID, ...], messages: list[MessageView], after_seq: int
    ) -> None:
        """Send what was read to those who take part now: membership ends with the query that no longer finds it."""
        target = self._targets.pop(conversation_id)
        target.user_ids &= set(participant_ids)
        if messages or target.seq > target.looked_for:
            self._targets[conversation_id] = target  # behind those that have not had their turn
        texts = [(message.seq, frames.message(message)) for message in messages]
        is_whole = [seq for seq, _ in texts] == list(range(after_seq + 1, after_seq + 1 + len(texts)))
        readers = self._lacking(conversation_id, target)
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
        target.note_delivered(max((reader.progress.sent(conversation_id) for reader in readers), default=0))

    def _reconcile(self) -> None:
        users = self._hub.users()
        self._changed_since, changed, gone = service.changes(
            users, self._changed_since, longest_transaction=self._longest_transaction
        )
        before = len(self._targets)
        for change in changed:
            users_of_it = [change.user_id]
            self.expect(change.conversation_id, change.last_seq, users_of_it, seq_before=change.seq_before)
        if missed := len(self._targets) - before:
            self.reconciled += missed
            metrics.WAKE_UPS_RECONCILED.inc(missed)
            log.info("wake_ups_reconciled", conversations=missed)
        for reader in self._hub.subscribers_of(gone):
            reader.connection.close(CloseCode.REVOKED, "the account is gone")

    def _lose_state(self) -> None:
        for target in self._targets.values():
            for reader in self._hub.subscribers_of(target.user_ids):
                reader.connection.close(CloseCode.STATE_LOST, "reconnect with your cursors")
        self._targets.clear()
