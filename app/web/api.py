"""REST and its description: flask-smorest, with this API's errors in place of its own."""

from http import HTTPStatus
from typing import Any

import flask_smorest
import marshmallow as ma
from flask import Flask, Response, current_app
from marshmallow import fields
from werkzeug.exceptions import HTTPException

from app.settings import Settings
from app.web import negotiation
from app.web.access import public
from app.web.errors import http_error
from app.web.etags import API_SPEC
from app.web.json import BodyParser, json_response
from app.web.openapi import fields as openapi_fields
from app.web.openapi.document import Description

BASE_PATH = "/api/v1"


def settings() -> Settings:
    """The settings of the app that serves this request."""
    found: Settings = current_app.extensions["settings"]
    return found


class ErrorDetail(ma.Schema):
    """One field and what is wrong with it."""

    field = fields.String(required=True)
    message = fields.String(required=True)
    code = fields.String(required=True)


class Error(ma.Schema):
    """The body of every error; also an RFC 9457 problem."""

    error = fields.String(required=True)
    message = fields.String(required=True)
    code = fields.String(required=True)
    details = fields.List(fields.Nested(ErrorDetail))
    request_id = fields.String(required=True)
    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String(required=True)


class Blueprint(flask_smorest.Blueprint):  # type: ignore[misc]
    """A slice's routes."""

    ARGUMENTS_PARSER = BodyParser()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.before_request(negotiation.refuse_unacceptable)
        self.after_request(negotiation.vary_by_accept)

    def route(self, rule: str, **options: Any) -> Any:
        """Register a view function for a path below `BASE_PATH`; with a slash at its end it is the same."""
        return super().route(rule, **{"strict_slashes": False, **options})

    def arguments(self, schema: Any, **options: Any) -> Any:
        """Read a part of the request by a schema: by one instance of a class, not a new one for each request."""
        return super().arguments(schema() if isinstance(schema, type) else schema, **options)

    def refuses(self, *statuses: HTTPStatus) -> Any:
        """Say that a view can also answer with these errors. What any view of its kind can give goes without saying."""

        def decorate(view: Any) -> Any:
            for status in statuses:
                view = self.alt_response(status.value, status.name)(view)
            return view

        return decorate


class Api(flask_smorest.Api):  # type: ignore[misc]
    """The API's registry and its OpenAPI document."""

    ERROR_SCHEMA = Error
    DEFAULT_ERROR_RESPONSE_NAME = None

    def handle_http_exception(self, error: HTTPException) -> Any:
        """Answer with the API's error body."""
        return http_error(error)


def make_api(app: Flask) -> Api:
    """Create the registry; the document is served at `/openapi.json`."""
    # Else //a path is answered with a redirect to whatever host the client says this is.
    app.url_map.merge_slashes = False
    app.config |= {
        "API_TITLE": "Gearyard",
        "API_VERSION": "1",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/",
        "OPENAPI_JSON_PATH": "openapi.json",
    }
    api = Api(app, spec_kwargs={"security": [{"bearer": []}]})
    openapi_fields.install(api.ma_plugin.converter)
    description = Description(app, api)
    app.extensions[API_SPEC] = description

    @public
    def openapi_json() -> Response:
        """Show the description of the API."""
        return json_response(description.document)

    app.view_functions["api-docs.openapi_json"] = openapi_json
    return api
