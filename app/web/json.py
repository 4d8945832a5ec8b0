"""JSON requests and responses: strict parsing, serialisation by orjson."""

import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import flask
import orjson
from flask.json.provider import JSONProvider
from gevent import Timeout
from gunicorn.http.errors import ParseException
from webargs.core import is_json
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from app.common import strict_json
from app.errors import InvalidInput, MalformedRequest, UnsupportedMediaType

BODY_TIMEOUT_SECONDS = 20
IDENTITY = "identity"  # RFC 9110 §8.4.1: no encoding


class StrictJson(JSONProvider):
    """Flask's JSON provider: parses with `app.common.strict_json`, serialises with orjson."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Serialise a value. Raises TypeError if its type has no JSON form."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Parse a document. Raises MalformedRequest if it is not strict JSON."""
        try:
            return strict_json.loads(s)
        except ValueError as error:
            raise MalformedRequest(f"The body is not valid JSON: {error}.") from error

    def response(self, *args: Any, **kwargs: Any) -> flask.Response:
        """The response of `flask.jsonify`."""
        return json_response(self._prepare_response_obj(args, kwargs))


def read_body(req: flask.Request) -> bytes:
    """Read the whole body, at most MAX_CONTENT_LENGTH bytes in BODY_TIMEOUT_SECONDS.

    Raises MalformedRequest (the body is incomplete, late or badly chunked), RequestEntityTooLarge.
    """
    try:
        with Timeout(BODY_TIMEOUT_SECONDS):
            body = req.get_data(cache=True)
    except (Timeout, OSError, ParseException) as error:
        _stop_reading(req)
        raise MalformedRequest("The body could not be read to its end.") from error
    if req.content_length is None and len(body) >= (req.max_content_length or 0):
        # Werkzeug truncates a chunked body at the limit without an error.
        raise RequestEntityTooLarge
    return body


def _stop_reading(req: flask.Request) -> None:
    """Stop reading from this client, as gunicorn would wait for the rest of the body before the next request."""
    if "gunicorn.socket" in req.environ:
        with suppress(OSError):
            req.environ["gunicorn.socket"].shutdown(socket.SHUT_RD)


def json_response(body: Any, status: int = HTTPStatus.OK, *, content_type: str = "application/json") -> flask.Response:
    """A response with `body`, serialised."""
    return flask.Response(orjson.dumps(body), status=status, content_type=content_type)


class BodyParser(FlaskParser):
    """webargs' parser with this API's statuses: 400 for an invalid field, 415 for a body that is not JSON."""

    DEFAULT_VALIDATION_STATUS = HTTPStatus.BAD_REQUEST

    def load_querystring(self, req: flask.Request, schema: Any) -> Any:
        """The query parameters, each a list of values. Raises InvalidInput or MalformedRequest if not UTF-8."""
        for pair in req.query_string.split(b"&") if b"%" in req.query_string else ():
            name, _, value = (unquote_to_bytes(part) for part in pair.partition(b"="))
            text = name.decode(errors="replace")
            field = schema.ALIASES.get(text, text)
            # Werkzeug would keep an invalid %FF as these three characters.
            if field in schema.fields:
                try:
                    value.decode()
                except UnicodeDecodeError:
                    raise InvalidInput.of(field, "Must be UTF-8.") from None
        try:
            return super().load_querystring(req, schema)
        except UnicodeDecodeError as error:
            raise MalformedRequest("The query is not UTF-8.") from error

    def load_json(self, req: flask.Request, schema: Any) -> Any:  # noqa: ARG002 - webargs' signature
        """The body as a dict. An absent body is an empty object, so that the error names the missing fields."""
        body = read_body(req)
        if not body:
            return {}
        if (req.content_encoding or IDENTITY).lower() != IDENTITY:
            # RFC 9110 §15.5.16. Without decompression there is no decompression bomb.
            raise UnsupportedMediaType("Send the body without a Content-Encoding.")
        if not is_json(req.mimetype):
            raise UnsupportedMediaType("Send the body as application/json.")
        parsed = flask.current_app.json.loads(body)
        if not isinstance(parsed, dict):
            raise InvalidInput.of("body", "Must be a JSON object.")
        return parsed
