"""How far one socket has been sent each conversation. Waits for nothing, and knows neither socket nor database."""

from uuid import UUID

from app.messages.projection import ConversationHead

FOLLOWED_CONVERSATIONS = 1000


class Progress:
    """How far one socket has been sent each conversation of its user.

    Held conversations are those that it is not to be sent now: all, until it knows where they stand; those that are
    being replayed to it from an older number; and those that wait for room in its outbox.
    """

    def __init__(self) -> None:
        self._sent: dict[UUID, int] = {}
        self._met: dict[UUID, int] = {}
        self._held: set[UUID] = set()
        self._waiting: set[UUID] = set()
        self.holds_all = True
        self._knows_all = True
        self._announced: dict[UUID, int] = {}

    def begin(self, heads: list[ConversationHead]) -> None:
        """Start behind what is there now; what comes after is to be sent."""
        self._sent = {head.id: head.last_seq for head in heads}
        self._knows_all = len(heads) < FOLLOWED_CONVERSATIONS
        for conversation_id, seq in self._met.items():
            self._sent.setdefault(conversation_id, 0 if self._knows_all else seq)

    def meet(self, conversation_id: UUID, seq: int) -> None:
        """Learn of one that stood at `seq` when it was first heard of here; what is known already stays.

        One that is not known, where all were, has come into being since: it is to be sent from its first message on.
        """
        if self.holds_all:
            self._met.setdefault(conversation_id, seq)
        self._sent.setdefault(conversation_id, 0 if self._knows_all else seq)

    def release_all(self) -> dict[UUID, int]:
        """Hold no longer; what was announced meanwhile."""
        self.holds_all = False
        self._met.clear()
        return self._take_announced()

    def hold(self, conversation_id: UUID, sent: int) -> None:
        """Send nothing of this one, which is being replayed behind `sent`."""
        self._held.add(conversation_id)
        self._sent[conversation_id] = sent

    def release(self, conversation_id: UUID) -> dict[UUID, int]:
        """Hold it no longer; what was announced meanwhile."""
        self._held.discard(conversation_id)
        return self._take_announced()

    def wait_for_room(self, conversation_id: UUID, seq: int) -> None:
        """Send nothing of this one, which has come to `seq`, until `make_room`."""
        self._waiting.add(conversation_id)
        self._remember(conversation_id, seq)

    def make_room(self) -> dict[UUID, int]:
        """There is room in the outbox again; what was announced meanwhile."""
        if not self._waiting:
            return {}
        self._waiting.clear()
        return self._take_announced()

    def is_behind(self, conversation_id: UUID, seq: int) -> bool:
        """Whether it is to be sent something up to this number now. If it is held, that is remembered."""
        if self.holds_all or conversation_id in self._held or conversation_id in self._waiting:
            self._remember(conversation_id, seq)
            return False
        return self.sent(conversation_id) < seq

    def sent(self, conversation_id: UUID) -> int:
        """Up to which number it has been sent this one; see `meet`."""
        return self._sent.get(conversation_id, 0)

    def advance(self, conversation_id: UUID, seq: int) -> None:
        """It has been sent all up to this number."""
        self._sent[conversation_id] = seq

    def _remember(self, conversation_id: UUID, seq: int) -> None:
        self._announced[conversation_id] = max(seq, self._announced.get(conversation_id, 0))

    def _take_announced(self) -> dict[UUID, int]:
        announced, self._announced = self._announced, {}
        return announced  # what is still held is announced to it once more, and kept again
