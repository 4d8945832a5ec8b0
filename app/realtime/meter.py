"""How large a message may grow, and how many frames have come: judged from their headers, before anything is kept."""

from typing import NamedTuple

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, ParseFailed, RsvBits

MAX_MESSAGE_BYTES = 64 * 1024
MAX_FRAGMENTS = 1024


class _Size(NamedTuple):
    """How much of a message has come."""

    fragments: int = 0
    octets: int = 0


class FrameMeter(Extension):
    """Looks at each frame's header before its payload is read. No extension that could be negotiated."""

    name = ""

    def __init__(self) -> None:
        self.frames = 0
        self._is_data = False
        self._message = self._and_frame = _Size()

    def enabled(self) -> bool:
        """Take part, though nobody offered it."""
        return True

    def offer(self) -> bool:
        """Offer nothing to the other side."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Refuse a message that grows beyond `MAX_MESSAGE_BYTES` or `MAX_FRAGMENTS`.

        It is asked again about a header that has not arrived whole, so a frame is counted when it is complete.
        """
        self._is_data = not opcode.iscontrol()
        if self._is_data:
            begun = self._message if opcode is Opcode.CONTINUATION else _Size()
            self._and_frame = _Size(begun.fragments + 1, begun.octets + payload_length)
            if self._and_frame.octets > MAX_MESSAGE_BYTES or self._and_frame.fragments > MAX_FRAGMENTS:
                raise ParseFailed("the message is too large", CloseReason.MESSAGE_TOO_BIG)
        return super().frame_inbound_header(proto, opcode, rsv, payload_length)

    def frame_inbound_complete(self, _proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Count the frame."""
        self.frames += 1
        if self._is_data:
            self._message = _Size() if fin else self._and_frame
