"""The start of a socket: `ready`, then the messages after its cursors, then live delivery."""

from uuid import UUID

from app.auth.identity import Authenticated
from app.auth.principal import Identity
from app.errors import Forbidden, NotFound
from app.messages import frames, service
from app.messages.progress import FOLLOWED_CONVERSATIONS
from app.messages.session import ChatSession
from app.messages.values import MessagePage, MessageView
from app.observability import metrics

REPLAY_MESSAGES = 100  # of a `sync` frame
READ_AT_ONCE = 50
REPLAYED_TOGETHER = 20  # conversations of one query
REPLAY_MESSAGES_TOGETHER = 30  # of each


def begin(session: ChatSession, caller: Authenticated, *, is_first: bool, cursors: dict[UUID, int]) -> None:
    """Send `ready` and the messages after the cursors, and start live delivery.

    Raises:
        ConnectionClosed: the socket has ended. SQLAlchemyError: the log cannot be read.
    """
    heads = service.heads(caller.identity.user_id, limit=FOLLOWED_CONVERSATIONS)
    if is_first:
        session.progress.begin(heads)
    if session.version > 1:
        ready = frames.ready(
            connection_id=session.id,
            user_id=caller.identity.user_id,
            token_expires_in=caller.seconds_left(),
            limits=session.limits,
            heads=heads,
        )
        session.connection.send(ready)
    if cursors:
        metrics.RESUMES.inc()
    last_seqs = {head.id: head.last_seq for head in heads}
    differing = {one: seq for one, seq in cursors.items() if seq != last_seqs.get(one)}
    for conversation_id, seq in differing.items():
        session.progress.hold(conversation_id, seq)
    session.schedule(session.progress.release_all())
    for conversation_id, seq in differing.items():
        if seq > last_seqs.get(conversation_id, -1):
            _replay(session, conversation_id, seq)  # a reset, or a conversation without a head
    _replay_together(session, {one: seq for one, seq in differing.items() if seq < last_seqs.get(one, -1)})


def _replay_together(session: ChatSession, after: dict[UUID, int]) -> None:
    """Send the messages after many cursors. Conversations with many messages come last, and delay no other."""
    todo, longer = list(after.items()), []
    while todo:
        chunk, todo = dict(todo[:REPLAYED_TOGETHER]), todo[REPLAYED_TOGETHER:]
        _pause_between_pages(session)
        found = service.batches(chunk, limit=REPLAY_MESSAGES_TOGETHER)
        for conversation_id, (participant_ids, messages) in found.items():
            is_over = len(messages) < REPLAY_MESSAGES_TOGETHER and frames.all_fit(messages)
            if session.user_id not in participant_ids or not is_over:
                longer.append(conversation_id)
                continue
            session.connection.wait_for_room()
            session.connection.send(frames.sync(conversation_id, messages, complete=True))
            last = messages[-1].seq if messages else chunk[conversation_id]
            session.progress.hold(conversation_id, last)
            session.schedule(session.progress.release(conversation_id))
    for conversation_id in longer:
        _replay(session, conversation_id, after[conversation_id])


def _pause_between_pages(session: ChatSession) -> None:
    """Wait for room in the outbox, and keep the session's deadlines. Raises ConnectionClosed."""
    session.connection.wait_for_room()
    session.keep_time()
    session.connection.wait_for_room()


def _replay(session: ChatSession, conversation_id: UUID, after_seq: int) -> None:
    """Send all messages after a cursor, as fast as the client reads, and continue live."""
    is_complete = False
    while not is_complete:
        _pause_between_pages(session)
        try:
            messages, last_seq, is_reset = messages_after(session.who, conversation_id, after_seq, REPLAY_MESSAGES)
        except (NotFound, Forbidden):
            messages, last_seq, is_reset = [], after_seq, True
        if messages:
            after_seq = messages[-1].seq
        is_complete = is_reset or after_seq >= last_seq
        session.connection.send(frames.sync(conversation_id, messages, complete=is_complete, reset=is_reset))
        session.progress.hold(conversation_id, last_seq if is_reset else after_seq)
    # The delivery reads what was announced since the last page.
    session.schedule(session.progress.release(conversation_id))


def messages_after(
    who: Identity, conversation_id: UUID, after_seq: int, limit: int
) -> tuple[list[MessageView], int, bool]:
    """(messages, last_seq, is_reset). If `after_seq` is beyond the log, it is a reset, with the newest messages.

    Raises:
        NotFound, Forbidden.
    """
    found = service.list_messages(who, conversation_id, _page_after(after_seq, limit))
    if after_seq > found.last_seq:
        newest = service.list_messages(who, conversation_id, MessagePage(limit=min(limit, READ_AT_ONCE)))
        return frames.within_bytes(newest.messages)[::-1], newest.last_seq, True
    messages = found.messages
    # In steps, as one step of the longest messages is more than one frame holds.
    while messages and messages[-1].seq < found.last_seq and len(messages) < limit and frames.all_fit(messages):
        found = service.list_messages(who, conversation_id, _page_after(messages[-1].seq, limit - len(messages)))
        messages = messages + found.messages
    return frames.within_bytes(messages), found.last_seq, False


def _page_after(after_seq: int, limit: int) -> MessagePage:
    return MessagePage(limit=min(limit, READ_AT_ONCE), after_seq=after_seq, oldest_first=True)
