"""How a socket begins: where the conversations stand, then what lies behind its cursors, then live."""

from uuid import UUID

from app.auth.identity import Authenticated
from app.auth.principal import Identity
from app.errors import Forbidden, NotFound
from app.messages import frames, service
from app.messages.progress import FOLLOWED_CONVERSATIONS
from app.messages.session import ChatSession
from app.messages.values import MessagePage, MessageView
from app.observability import metrics

REPLAY_MESSAGES = 100  # on a page
READ_AT_ONCE = 50
REPLAYED_TOGETHER = 20  # conversations
REPLAY_MESSAGES_TOGETHER = 30  # of each


def begin(session: ChatSession, caller: Authenticated, *, is_first: bool, cursors: dict[UUID, int]) -> None:
    """Tell a socket where its user's conversations stand, send what lies behind its cursors, and let it go live.

    Raises:
        ConnectionClosed: the socket has ended. SQLAlchemyError: the log cannot be read.
    """
    heads = service.heads(caller.identity.user_id, limit=FOLLOWED_CONVERSATIONS)
    if is_first:
        session.progress.begin(heads)
    if session.version > 1:
        seconds = caller.seconds_left()
        user_id = caller.identity.user_id
        limits = session.limits
        session.connection.send(
            frames.ready(
                connection_id=session.id, user_id=user_id, token_expires_in=seconds, limits=limits, heads=heads
            )
        )
    if cursors:
        metrics.RESUMES.inc()
    last_seqs = {head.id: head.last_seq for head in heads}
    behind = {one: seq for one, seq in cursors.items() if seq != last_seqs.get(one)}
    for conversation_id, seq in behind.items():
        session.progress.hold(conversation_id, seq)
    session.schedule(session.progress.release_all())
    for conversation_id, seq in behind.items():
        if seq > last_seqs.get(conversation_id, -1):
            _replay(session, conversation_id, seq)  # a reset, or one that is not followed
    _replay_together(session, {one: seq for one, seq in behind.items() if seq < last_seqs.get(one, -1)})


def _replay_together(session: ChatSession, behind: dict[UUID, int]) -> None:
    """Send what lies behind many cursors: where it is little first, so that none waits for another's whole past."""
    todo, longer = list(behind.items()), []
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
        _replay(session, conversation_id, behind[conversation_id])


def _pause_between_pages(session: ChatSession) -> None:
    """Wait for room, and let neither a token's end nor a ping be missed meanwhile. Raises ConnectionClosed."""
    session.connection.wait_for_room()
    session.keep_time()
    session.connection.wait_for_room()


def _replay(session: ChatSession, conversation_id: UUID, after_seq: int) -> None:
    """Send all that lies behind a cursor, at the pace of the session, and go on live where that ends."""
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
    # Whatever was announced since the last page is read by the delivery, behind this number.
    session.schedule(session.progress.release(conversation_id))


def messages_after(
    who: Identity, conversation_id: UUID, after_seq: int, limit: int
) -> tuple[list[MessageView], int, bool]:
    """(messages, last_seq, is_reset): where a number is beyond the log, the newest messages, to start anew from.

    Raises:
        NotFound, Forbidden.
    """
    found = service.list_messages(who, conversation_id, _page_after(after_seq, limit))
    if after_seq > found.last_seq:
        newest = service.list_messages(who, conversation_id, MessagePage(limit=min(limit, READ_AT_ONCE)))
        return frames.within_bytes(newest.messages)[::-1], newest.last_seq, True
    messages = found.messages
    # In steps: of the longest messages, the first step is more than one frame holds.
    while messages and messages[-1].seq < found.last_seq and len(messages) < limit and frames.all_fit(messages):
        found = service.list_messages(who, conversation_id, _page_after(messages[-1].seq, limit - len(messages)))
        messages = messages + found.messages
    return frames.within_bytes(messages), found.last_seq, False


def _page_after(after_seq: int, limit: int) -> MessagePage:
    return MessagePage(limit=min(limit, READ_AT_ONCE), after_seq=after_seq, oldest_first=True)
