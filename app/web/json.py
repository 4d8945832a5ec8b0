"""JSON in and out: read strictly, written fast."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import flask
import orjson
from flask import Response
from flask.json.provider import JSONProvider
from webargs.core import is_json
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import RequestEntityTooLarge

from app import strict_json
from app.errors import InvalidInput, MalformedRequest, UnsupportedMediaType


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

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """What `flask.jsonify` gives."""
        return json_response(self._prepare_response_obj(args, kwargs))


def json_response(
    body: Any,
    status: int = HTTPStatus.OK,
    *,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A response with this value as its JSON body."""
    return Response(orjson.dumps(body), status=status, headers=headers, content_type=content_type)


class BodyParser(FlaskParser):
    """webargs' parser with the contract's statuses: 400 for a wrong field, 415 for a body that is no JSON."""

    DEFAULT_VALIDATION_STATUS = HTTPStatus.BAD_REQUEST

    def load_json(self, req: flask.Request, schema: Any) -> Any:  # noqa: ARG002 - webargs' signature
        """The body, parsed: an object. An absent one counts as empty, so that the fields it lacks are named."""
        body = req.get_data(cache=True)
        if req.content_length is None and len(body) >= (req.max_content_length or 0):
            # Werkzeug cuts a chunked body at the limit without a word.
            raise RequestEntityTooLarge
        if not body:
            return {}
        if not is_json(req.mimetype):
            raise UnsupportedMediaType("Send the body as application/json.")
        parsed = flask.current_app.json.loads(body)
        if not isinstance(parsed, dict):
            raise InvalidInput.of("body", "Must be a JSON object.")
        return parsed
