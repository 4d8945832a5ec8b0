"""The paths beside the API proper: what operators and load balancers ask, and the descriptions themselves."""

from typing import Any

from app.web.conditional import IF_NONE_MATCH
from app.web.openapi.answers import COUNTED, EVERYWHERE, error_reference, headers, not_modified

TAG = {"name": "system", "description": "Health, metrics and descriptions. No base path, and no access token."}
TEXT = "text/plain"
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"


def _get(
    operation_id: str, summary: str, description: str, content: dict[str, Any], *errors: int, **extra: Any
) -> dict[str, Any]:
    answer_headers = headers(*EVERYWHERE, *(COUNTED if 429 in errors else ()), *extra.pop("headers", ()))
    answers: dict[str, Any] = {"200": {"description": "OK", "headers": answer_headers, "content": content}}
    if "parameters" in extra:
        answers["304"] = not_modified()
    # Any request can be one that makes no sense: a Host that is none, say.
    answers |= {str(status): error_reference(status) for status in (400, *errors)}
    found = {"operationId": operation_id, "summary": summary, "description": description, "tags": [TAG["name"]]}
    return {"get": {**found, "security": [], "responses": answers, **extra}}


def _text(word: str) -> dict[str, Any]:
    return {TEXT: {"schema": {"const": word}, "example": word}}


def _document(title: str, version: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {title: {"type": "string"}}, "required": [title]}
    return {"application/json": {"schema": schema, "example": {title: version}}}


_SERIES = 'http_requests_total{method="GET",route="/api/v1/equipment",status="200"} 42.0\n'
PATHS: dict[str, Any] = {
    "/health": _get(
        "getHealth",
        "Tell whether the process lives",
        "Answers as long as the process can, and touches nothing else: for liveness probes. Never limited.",
        _text("ok"),
        500,
    ),
    "/ready": _get(
        "getReadiness",
        "Tell whether to send requests here",
        "503 while the worker stops, the database does not answer, or its schema is behind. Never limited.",
        _text("ready"),
        *(500, 503),
        headers=["Gearyard-Degraded"],
    ),
    "/metrics": _get(
        "getMetrics",
        "Show what was counted, for Prometheus",
        "For callers on a private network, or, where the settings name one, with the token for metrics.",
        {_PROMETHEUS: {"schema": {"type": "string"}, "example": _SERIES}},
        *(401, 403, 429, 500, 503),
        security=[{}, {"metrics": []}],
    ),
    "/openapi.json": _get(
        "getOpenApi",
        "Show this description",
        "OpenAPI 3.1; made from the code that answers.",
        _document("openapi", "3.1.0"),
        *(429, 500),
        headers=["ETag", "Cache-Control"],
        parameters=[IF_NONE_MATCH],
    ),
    "/asyncapi.json": _get(
        "getAsyncApi",
        "Show the description of the chat's socket",
        "AsyncAPI 3: who sends which frames at `/api/v1/ws`, and what they hold.",
        _document("asyncapi", "3.0.0"),
        *(429, 500),
    ),
}
