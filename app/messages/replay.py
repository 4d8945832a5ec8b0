"""The start of a socket: `ready`, then the messages after its cursors, then live delivery."""

import math
from itertools import islice
from uuid import UUID

from app.auth.identity import Authenticated
from app.auth.principal import Identity
from app.errors import Forbidden, NotFound
from app.messages import frames, service
from app.messages.progress import FOLLOWED_CONVERSATIONS
from app.messages.session import ChatSession
from app.messages.values import ConversationHead, MessageBatch, MessagePage, MessageView, SyncPage
from app.observability import metrics
from app.realtime.connection import encode
from app.realtime.websocket import MAX_MESSAGE_BYTES

READ_AT_ONCE = 50
REPLAYED_TOGETHER = 20  # conversations of one query
REPLAY_MESSAGES = 100  # of a `sync` frame
REPLAY_MESSAGES_TOGETHER = 30  # of each of several conversations


def begin(session: ChatSession, caller: Authenticated, *, is_first: bool, cursors: dict[UUID, int]) -> None:
    """Send `ready` and the messages after the cursors, and start live delivery. Raises ConnectionClosed."""
    heads = service.heads(caller.identity.user_id, limit=FOLLOWED_CONVERSATIONS)
    if is_first:
        session.progress.begin(heads)
    if session.version > 1:
        _send_ready(session, caller, heads)
    if cursors:
        metrics.RESUMES.inc()
    last_seqs = {head.id: head.last_seq for head in heads}
    differing = {one: seq for one, seq in cursors.items() if seq != last_seqs.get(one)}
    for conversation_id, seq in differing.items():
        session.progress.hold(conversation_id, seq)
    session.schedule(session.progress.release_all())
    _replay(session, differing)


def _send_ready(session: ChatSession, caller: Authenticated, heads: list[ConversationHead]) -> None:
    limits = session.limits
    payload = {
        "connection_id": session.id,
        "user_id": caller.identity.user_id,
        "ping_interval": limits.ping_interval_seconds,
        "token_expires_in": math.floor(max(0.0, caller.seconds_left())),
        "limits": {
            "messages_per_second": limits.messages_per_second,
            "message_burst": limits.message_burst,
            "frames_per_second": limits.frames_per_second,
            "max_frame_bytes": MAX_MESSAGE_BYTES,
        },
        "conversations": heads,
    }
    session.connection.send(encode("ready", payload))


def _replay(session: ChatSession, after: dict[UUID, int]) -> None:
    """Send all messages after the cursors, as fast as the client reads, and continue live.

    Of many conversations, a page each in turn: a long one delays no other.
    """
    todo = dict(after)
    while todo:
        chunk = dict(islice(todo.items(), REPLAYED_TOGETHER))
        session.connection.wait_for_room()
        session.keep_time()
        limit = REPLAY_MESSAGES if len(chunk) == 1 else REPLAY_MESSAGES_TOGETHER
        for conversation_id, batch in service.batches(chunk, limit=limit).items():
            after_seq = todo.pop(conversation_id)
            page = _page_of(session, conversation_id, after_seq, batch)
            session.connection.wait_for_room()
            session.connection.send(frames.sync(conversation_id, page))
            if not page.is_complete:
                todo[conversation_id] = page.reached
                continue
            session.progress.advance(conversation_id, page.reached)
            # The delivery reads what was announced since the page was read.
            session.schedule(session.progress.release(conversation_id))


def _page_of(session: ChatSession, conversation_id: UUID, after_seq: int, batch: MessageBatch) -> SyncPage:
    if session.user_id in batch.participant_ids and after_seq <= batch.last_seq:
        return SyncPage(frames.within_bytes(batch.messages), after_seq, batch.last_seq)
    try:
        return page_after(session.who, conversation_id, after_seq, READ_AT_ONCE)
    except (NotFound, Forbidden):
        return SyncPage([], after_seq, after_seq, is_reset=True)


def page_after(who: Identity, conversation_id: UUID, after_seq: int, limit: int) -> SyncPage:
    """The messages after a number, or, if it is beyond the log, a reset with the newest. Raises NotFound, Forbidden."""
    messages: list[MessageView] = []
    # In steps, as one step of the longest messages is more than one frame holds.
    while True:
        step = min(limit - len(messages), READ_AT_ONCE)
        start = messages[-1].seq if messages else after_seq
        page = MessagePage(limit=step, after_seq=start, oldest_first=True)
        found = service.list_messages(conversation_id, who.user_id, page)
        if after_seq > found.last_seq:
            newest = service.list_messages(conversation_id, who.user_id, MessagePage(limit=step))
            messages = frames.within_bytes(newest.messages)[::-1]
            return SyncPage(messages, newest.last_seq, newest.last_seq, is_reset=True)
        messages += found.messages
        fitting = SyncPage(frames.within_bytes(messages), after_seq, found.last_seq)
        if fitting.is_complete or len(messages) == limit or len(fitting.messages) < len(messages):
            return fitting
