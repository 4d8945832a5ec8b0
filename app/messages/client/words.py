"""How the chat reads on a screen: messages, lists of conversations, and what the service refuses."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

GONE = "somebody who has left"
SHORT = 60
# What would move the cursor, or turn the line around, if it were written as it came.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")

_REFUSALS = {"FORBIDDEN": "You do not take part in this conversation any more."}


def plain(text: str) -> str:
    """A text without what a terminal would obey; line ends stay."""
    return "".join(
        character if character == "\n" or unicodedata.category(character) != "Cc" else " "
        for character in text.replace("\r\n", "\n")
        if character not in _TURNING
    )


def local(timestamp: str) -> datetime:
    """A time of the service's, where we are."""
    return datetime.fromisoformat(timestamp).astimezone()


def day(moment: datetime) -> str:
    """The line between two days."""
    return f"{moment:%A}, {moment.day} {moment:%B %Y}"


def message(one: Mapping[str, Any], *, is_own: bool) -> str:
    """`14:02  demo-owner: Yes, it is.` A tick stands behind one's own: it is stored."""
    name = "you" if is_own else plain(one["sender_name"] or GONE)
    head = f"{local(one['created_at']):%H:%M}  {name}: "
    text = plain(one["content"]).replace("\n", "\n" + " " * 7)
    return f"{head}{text}{' ✓' if is_own else ''}"


def people(conversation: Mapping[str, Any], own_id: str) -> str:
    """Everybody else in a conversation."""
    names = [plain(one["username"]) for one in conversation["participants"] if one["user_id"] != own_id]
    return ", ".join(names) or "nobody else any more"


def about(title: str | None) -> str:
    """What a conversation is about."""
    return "no listing" if title is None else plain(title)


def heading(conversation: Mapping[str, Any], title: str | None, own_id: str) -> str:
    """What stands above an open conversation."""
    return f"{people(conversation, own_id)} · {about(title)}"


def listed(conversation: Mapping[str, Any], title: str | None, own_id: str) -> str:
    """A conversation in the list of them: who, about what, the last message, and the id, which opens it."""
    unread = conversation["unread_count"]
    lines = [heading(conversation, title, own_id) + (f" · {unread} unread" if unread else "")]
    last = conversation["last_message"]
    if last is not None:
        said = " ".join(plain(last["content"]).split())
        said = said if len(said) <= SHORT else f"{said[: SHORT - 1]}…"
        name = "you" if last["sender_id"] == own_id else plain(last["sender_name"] or GONE)
        moment = local(last["created_at"])
        lines.append(f"{moment.day} {moment:%b %Y, %H:%M}  {name}: {said}")
    lines.append(conversation["id"])
    return "\n    ".join(lines)


def counted(number: int, thing: str) -> str:
    """`1 line`, `2 lines`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def refusal(error: Mapping[str, Any], content: str | None = None) -> str:
    """An error frame in words, with the line that it is about."""
    reason = _REFUSALS.get(error["code"]) or plain(error["message"]).removeprefix("content: ")
    if content is None:
        return reason
    short = content if len(content) <= SHORT else f"{content[: SHORT - 1]}…"
    return f"Not sent: {short!r}. {reason}"
