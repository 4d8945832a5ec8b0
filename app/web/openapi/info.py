"""What the API is, how to get in, and the conventions that every operation keeps."""

from typing import Any

INFO = {
    "summary": "The backend of a peer-to-peer equipment rental marketplace.",
    "description": """\
Owners list gear with photos, a daily rate and a place; renters find it by distance, price, kind and words; both write
to each other; admins moderate.

**Conventions.** JSON in and out. Times are RFC 3339 in UTC, ids UUIDs, money a decimal string (`"25.00"`). Unknown
fields of a body are refused; a blank, `null` or `undefined` query value counts as absent. Answers may gain fields.

**Errors** have one body, with a `code` for programs and a `request_id` for support. It is also a problem of RFC 9457,
and is sent as `application/problem+json` where `Accept` asks for it. An unknown path answers 404, a wrong method 405,
with the same body.

**Lists** are paged by `page` and `limit`, or by `cursor`, which goes to any depth, and repeats and skips nothing.

**Changes.** A read gives an `ETag`. Sent back in `If-None-Match` it saves a body (304); in `If-Match` it lets a change
be made only to what was seen (412).

**Live.** The chat's WebSocket (`/api/v1/ws`) is described by `/asyncapi.json`.
""",
}
SERVERS = [{"url": "/", "description": "The service that gave this description."}]
SECURITY_SCHEMES: dict[str, Any] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of the identity provider (RFC 6750): `POST /api/v1/auth/auth0/login` gives one "
        "for e-mail and password, `POST /api/v1/auth/auth0/refresh` a fresh one; a client may also get it from "
        "the provider itself. Its first use makes the user, as a renter.",
    },
    "metrics": {
        "type": "http",
        "scheme": "bearer",
        "description": "The operator's token for `/metrics` (`METRICS_ADMIN_TOKEN`).",
    },
}
