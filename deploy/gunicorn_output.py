"""What gunicorn does for every response, without what nobody needs: it would cost as much as the service's own part."""

from typing import Any

from gunicorn.glogging import Logger
from gunicorn.http import wsgi
from gunicorn.util import to_bytestring

from app.web.headers import HEADERS

_CONSTANT_HEADERS = frozenset(HEADERS.items())


def install() -> None:
    """Let gunicorn answer by `GatheredResponse`; it has no setting for that."""
    wsgi.Response = GatheredResponse


class ErrorLogger(Logger):  # type: ignore[misc]
    """gunicorn's logger, which is not asked for lines about requests: the service writes its own.

    Since logging is configured, gunicorn's would compose one for each and then find that nobody listens.
    """

    def access(self, *_: Any) -> None:
        """Write nothing."""


class GatheredResponse(wsgi.Response):  # type: ignore[misc]
    """A response whose headers leave together with the beginning of its body.

    gunicorn sends them by themselves, so that each response takes two system calls and wakes its reader twice.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.headers_sent = False
        self._held = b""

    def process_headers(self, headers: list[tuple[str, str]]) -> None:
        """As gunicorn's, which looks at each character; those that are always the same were looked at once."""
        self.headers.extend(header for header in headers if header in _CONSTANT_HEADERS)
        super().process_headers([header for header in headers if header not in _CONSTANT_HEADERS])

    def send_headers(self) -> None:
        """Hold them until there is something to send them with, or the response ends."""
        if not self.headers_sent:
            lines = (f"{name}: {value}\r\n" for name, value in self.headers)
            self._held = to_bytestring("".join([*self.default_headers(), *lines, "\r\n"]), "latin-1")
            self.headers_sent = True

    def sendfile(self, _respiter: Any) -> bool:
        """Leave it to `write`, which knows what is held."""
        return False

    def close(self) -> None:
        """End the response."""
        self.send_headers()
        self._release()
        super().close()

    def _emit_body(self, data: bytes) -> None:
        if self.chunked:
            self._release()
            super()._emit_body(data)
        else:
            self._release(data)

    def _release(self, data: bytes = b"") -> None:
        held, self._held = self._held, b""
        if held or data:
            self.sock.sendall(held + data if held else data)
