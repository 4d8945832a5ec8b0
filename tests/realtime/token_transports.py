"""The ways of sending a token with the request for a socket, and what HTTP can carry in each."""

import re
from urllib.parse import quote

from tests.support.http_raw import RawAnswer
from tests.support.processes.service import ServiceProcess
from tests.support.ws_raw import RawSocket, upgrade

MOST_HEADER_BYTES, MOST_URL_BYTES = 16_384, 8190  # `deploy/gunicorn.conf.py`
ROOM_FOR_THE_REST = 100
# RFC 9110 §5.5 and §5.6.2. HTTP takes blanks at the end off by itself.
VALUE = re.compile(r"[\t -~\x80-\xff]*[!-~\x80-\xff]")
WORD = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
Headers = dict[str, str | None]


def ask(service: ServiceProcess, path: str = "/ws", headers: Headers | None = None) -> RawAnswer | None:
    """The answer to a request for a socket; None where the service has not even read all of it."""
    with RawSocket(service.port) as raw:
        try:
            return raw.ask(upgrade(path, headers))
        except (BrokenPipeError, ConnectionResetError, EOFError):
            return None


def by_header(token: str) -> tuple[str, Headers]:
    return "/ws", {"Authorization": f"Bearer {_in_latin_1(token)}"}


def by_subprotocol(token: str) -> tuple[str, Headers]:
    return "/ws", {"Sec-WebSocket-Protocol": f"bearer, {_in_latin_1(token)}"}


def by_query(token: str) -> tuple[str, Headers]:
    return f"/ws?token={quote(token, safe='')}", {}


WAYS = {"header": by_header, "subprotocol": by_subprotocol, "query": by_query}


def _in_latin_1(token: str) -> str:
    """The token's bytes, as `upgrade` takes them."""
    return token.encode().decode("latin-1")


def can_travel(way: str, token: str) -> bool:
    """Whether HTTP can carry the token in that way, so that it is the service who refuses it."""
    if way == "query":
        return len(quote(token, safe="")) + ROOM_FOR_THE_REST < MOST_URL_BYTES
    form = VALUE if way == "header" else WORD
    return form.fullmatch(_in_latin_1(token)) is not None and len(token) + ROOM_FOR_THE_REST < MOST_HEADER_BYTES
