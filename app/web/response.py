"""Responses whose head is written in one pass."""

from collections.abc import Callable, Iterable
from typing import Any

import flask

# RFC 9110 §8: of what a 304 or 204 leaves out, what a response here may have got all the same.
_OF_CONTENT = frozenset({"content-type", "content-length", "content-encoding", "content-language"})
_RESOLVED = frozenset({"location", "content-location"})


class Response(flask.Response):
    """Flask's. Werkzeug copies and searches the headers several times over; here that is done only where it must be."""

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As Werkzeug's: with a Content-Length, without a body where there may be none."""
        status = self.status_code
        if environ["REQUEST_METHOD"] == "HEAD" or status < 200 or not self._is_plain():
            return super().__call__(environ, start_response)
        headers = list(self.headers)
        names = {name.lower() for name, _ in headers}
        if not _RESOLVED.isdisjoint(names):  # a Location may have to be encoded
            return super().__call__(environ, start_response)
        if status in (204, 304):
            start_response(self.status, [header for header in headers if header[0].lower() not in _OF_CONTENT])
            return ()
        body: list[bytes] = self.response  # type: ignore[assignment]
        if "content-length" not in names:
            headers.append(("Content-Length", str(sum(map(len, body)))))
        start_response(self.status, headers)
        return body

    def _is_plain(self) -> bool:
        """Whether all of the body is there, and nothing waits for its end."""
        body = self.response
        return isinstance(body, list) and not self._on_close and all(type(part) is bytes for part in body)
