"""JSON in and out: read strictly, written fast."""

import socket
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

import flask
import marshmallow as ma
import orjson
from flask.json.provider import JSONProvider
from gevent import Timeout
from gunicorn.http.errors import ParseException
from webargs.core import is_json
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from app import strict_json
from app.errors import InvalidInput, MalformedRequest, UnsupportedMediaType

BODY_TIMEOUT_SECONDS = 20
MAX_REMEMBERED_QUERIES = 1_000
MAX_REMEMBERED_QUERY_BYTES = 500
IDENTITY = "identity"  # RFC 9110 §8.4.1: no encoding


class StrictJson(JSONProvider):
    """Reads with `app.strict_json`, writes with orjson."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Serialise; raises TypeError for what JSON has no form for."""
        return orjson.dumps(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Parse; raises MalformedRequest for all that is not strict JSON."""
        try:
            return strict_json.loads(s)
        except ValueError as error:
            raise MalformedRequest(f"The body is not valid JSON: {error}.") from error

    def response(self, *args: Any, **kwargs: Any) -> flask.Response:
        """What `flask.jsonify` gives."""
        return json_response(self._prepare_response_obj(args, kwargs))


def read_body(req: flask.Request) -> bytes:
    """The whole body, of bounded size and in bounded time.

    Raises:
        MalformedRequest: it does not come, or its chunks make no sense. RequestEntityTooLarge.
    """
    try:
        with Timeout(BODY_TIMEOUT_SECONDS):
            body = req.get_data(cache=True)
    except (Timeout, OSError, ParseException) as error:
        _stop_reading(req)
        raise MalformedRequest("The body could not be read to its end.") from error
    if req.content_length is None and len(body) >= (req.max_content_length or 0):
        # Werkzeug cuts a chunked body at the limit without a word.
        raise RequestEntityTooLarge
    return body


def _stop_reading(req: flask.Request) -> None:
    """Expect nothing more from this client: gunicorn would wait for the rest of the body before the next request."""
    connection = req.environ.get("gunicorn.socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RD)


def json_response(
    body: Any,
    status: int = HTTPStatus.OK,
    *,
    content_type: str = "application/json",
) -> flask.Response:
    """A response with this value as its JSON body."""
    return flask.Response(orjson.dumps(body), status=status, content_type=content_type)


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


class BodyParser(FlaskParser):
    """webargs' parser with this API's statuses: 400 for a wrong field, 415 for a body that is no JSON."""

    DEFAULT_VALIDATION_STATUS = HTTPStatus.BAD_REQUEST

    def parse(self, argmap: Any, req: Any = None, *, location: str | None = None, **options: Any) -> Any:
        """As webargs'. A query that is read as a value is the same value for the same text."""
        asked = flask.request if req is None else req
        if location == "query" and getattr(argmap, "loads_value", False):
            text = asked.query_string
            if len(text) <= MAX_REMEMBERED_QUERY_BYTES:
                return _value_of(argmap, text)
        return super().parse(argmap, asked, location=location, **options)

    def load_querystring(self, req: flask.Request, schema: Any) -> Any:
        """The query's values, each a list.

        Raises:
            InvalidInput: one of the schema's is not UTF-8. MalformedRequest: raw bytes anywhere are not.
        """
        for pair in req.query_string.split(b"&") if b"%" in req.query_string else ():
            name, _, value = (unquote_to_bytes(part) for part in pair.partition(b"="))
            field = schema.ALIASES.get(name.decode(errors="replace"), name.decode(errors="replace"))
            # Werkzeug would take %FF, percent sign and all, for what was meant.
            if field in schema.fields and not _is_utf8(value):
                raise InvalidInput.of(field, "Must be UTF-8.")
        try:
            return super().load_querystring(req, schema)
        except UnicodeDecodeError as error:
            raise MalformedRequest("The query is not UTF-8.") from error

    def load_json(self, req: flask.Request, schema: Any) -> Any:  # noqa: ARG002 - webargs' signature
        """The body, parsed: an object. An absent one counts as empty, so that the fields it lacks are named."""
        body = read_body(req)
        if not body:
            return {}
        if (req.content_encoding or IDENTITY).lower() != IDENTITY:
            # RFC 9110 §15.5.16. What unpacks a body has to bound what comes out of it; nothing here needs to.
            raise UnsupportedMediaType("Send the body as it is, without a Content-Encoding.")
        if not is_json(req.mimetype):
            raise UnsupportedMediaType("Send the body as application/json.")
        parsed = flask.current_app.json.loads(body)
        if not isinstance(parsed, dict):
            raise InvalidInput.of("body", "Must be a JSON object.")
        return parsed


@lru_cache(maxsize=MAX_REMEMBERED_QUERIES)
def _value_of(schema: Any, query: bytes) -> Any:
    asked = flask.Request({"REQUEST_METHOD": "GET", "QUERY_STRING": query.decode("latin-1")})  # PEP 3333
    try:
        return schema.load(_parser.load_querystring(asked, schema))
    except ma.ValidationError:
        return FlaskParser.parse(_parser, schema, asked, location="query")  # which says what is wrong


_parser = BodyParser()
