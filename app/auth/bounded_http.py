"""What requests lacks for calls that must end: a bound on an answer's size, and on the time that reading it takes."""

import io
import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

MAX_RESPONSE_BYTES = 256 * 1024


class BearerAuth(AuthBase):
    """The Authorization header as an auth object, because requests lets a .netrc overrule a plain header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the header on a request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class BoundedAdapter(HTTPAdapter):
    """Reads an answer whole, but only so large and only for so long: requests' own timeout is one for each read."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """As HTTPAdapter's. Raises requests.ConnectionError beyond `MAX_RESPONSE_BYTES` or the given timeout."""
        deadline = time.monotonic() + kwargs["timeout"]
        response = super().send(request, *args, **{**kwargs, "stream": True})
        body = bytearray()
        try:
            while chunk := response.raw.read1(16_384, decode_content=True):
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES or time.monotonic() > deadline:
                    raise requests.ConnectionError("the answer is too long or too slow")
        finally:
            # Half-read connections cannot be used again; whole ones went back to the pool by themselves.
            response.raw.close()
        response.raw = io.BytesIO(bytes(body))
        return response
