"""What one socket has been sent of each conversation. Knows neither socket nor database."""

from uuid import UUID

from app.messages.values import ConversationHead

FOLLOWED_CONVERSATIONS = 1000


class Progress:
    """The last number of each of the user's conversations that one socket has been sent.

    Delivery is held for all conversations until `release_all`, and for one while it is replayed or waits for room in
    the outbox. What is announced meanwhile is remembered; the end of a hold returns it.
    """

    def __init__(self) -> None:
        self._sent: dict[UUID, int] = {}
        self._held: set[UUID] = set()
        self._waiting: set[UUID] = set()
        self.holds_all = True
        self._knows_all = False
        self._announced: dict[UUID, int] = {}

    def begin(self, heads: list[ConversationHead]) -> None:
        """Start after the last number of each conversation."""
        self._knows_all = len(heads) < FOLLOWED_CONVERSATIONS
        tracked = {conversation_id: 0 if self._knows_all else seq for conversation_id, seq in self._sent.items()}
        self._sent = tracked | {head.id: head.last_seq for head in heads}

    def track(self, conversation_id: UUID, seq: int) -> None:
        """Start to follow a conversation after `seq`, unless it is followed already.

        If `begin` was given all of the user's conversations, an unknown one is new, and starts at its first message.
        """
        self._sent.setdefault(conversation_id, 0 if self._knows_all else seq)

    def release_all(self) -> dict[UUID, int]:
        """End the hold on all."""
        self.holds_all = False
        return self._take_announced()

    def hold(self, conversation_id: UUID, sent: int) -> None:
        """Hold a conversation while it is replayed after `sent`."""
        self._held.add(conversation_id)
        self._sent[conversation_id] = sent

    def release(self, conversation_id: UUID) -> dict[UUID, int]:
        """End the hold on a conversation."""
        self._held.discard(conversation_id)
        return self._take_announced()

    def wait_for_room(self, conversation_id: UUID, seq: int) -> None:
        """Hold a conversation, whose last number is `seq`, until `make_room`."""
        self._waiting.add(conversation_id)
        self._remember(conversation_id, seq)

    def make_room(self) -> dict[UUID, int]:
        """End the holds for want of room."""
        if not self._waiting:
            return {}
        self._waiting.clear()
        return self._take_announced()

    def lacks(self, conversation_id: UUID, seq: int) -> bool:
        """Whether the socket lacks messages up to `seq` and can be sent them now."""
        if self.holds_all or conversation_id in self._held or conversation_id in self._waiting:
            self._remember(conversation_id, seq)
            return False
        return self.sent(conversation_id) < seq

    def sent(self, conversation_id: UUID) -> int:
        """The last number that the socket has been sent, or the one `track` started after."""
        return self._sent.get(conversation_id, 0)

    def advance(self, conversation_id: UUID, seq: int) -> None:
        """Note that the socket has been sent all up to `seq`."""
        self._sent[conversation_id] = seq

    def _remember(self, conversation_id: UUID, seq: int) -> None:
        self._announced[conversation_id] = max(seq, self._announced.get(conversation_id, 0))

    def _take_announced(self) -> dict[UUID, int]:
        announced, self._announced = self._announced, {}
        return announced  # conversations still held are remembered again
