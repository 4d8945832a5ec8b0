"""The Idempotency-Key header (draft-ietf-httpapi-idempotency-key-header-07): a POST sent twice does its work once.

A view marked `@idempotent` is told by the key that a request repeats an earlier one, and gives that one's answer:
status, body, ETag and Location, with `Idempotent-Replayed: true`, for 24 hours. `app.idempotency` has the rules.

A key is one user's own, and one request's: the method, the path and the body are compared. Two bodies are the same if
they are the same JSON, in whatever order of members: not every client serialises alike twice.

Who is calling, the rate limits and `admins_only` come first, for a repeated request too. The view does not: whoever has
lost the right to ask for something is told once more what came of it when it was theirs. Errors are not kept, so that a
request that was refused is looked at anew.

Sign-up takes no key: nobody is known yet whose it could be, and an e-mail signs up once anyway. The header is not
looked at on what is not marked.
"""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import orjson
from flask import Response, make_response, request

from app import idempotency, strict_json
from app.auth.identity import caller
from app.errors import MalformedRequest
from app.idempotency import Answer
from app.web.json import read_body

HEADER, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
KEPT_HEADERS = ("Content-Type", "ETag", "Location")
MAX_KEY_CHARACTERS = 255
# The draft sends a string of RFC 8941 §3.3.3, in quotes; most clients send what would be in them. No comma without
# quotes: by one, two headers become one.
_BARE = re.compile(rf"[!#-+\--~]{{1,{MAX_KEY_CHARACTERS}}}")
_QUOTED = re.compile(rf'"((?:[!#-\[\]-~]|\\["\\]){{1,{MAX_KEY_CHARACTERS}}})"')
_ESCAPED = re.compile(r"\\(.)")
PARAMETER = {
    "in": "header",
    "name": HEADER,
    "schema": {"type": "string"},
    "example": "8e03978e-40d5-43e8-bc93-6894a57f9324",
    "description": f"Of the client's making, another one for each thing to be created: 1 to {MAX_KEY_CHARACTERS} "
    "visible ASCII characters, in double quotes or not. Sent again with it within 24 hours, the same request creates "
    f"nothing more, and is answered as it was, with `{REPLAYED}: true`; while the first one is being answered, 409; "
    "another request with it, 422. Errors are not kept.",
}

View = TypeVar("View", bound=Callable[..., Any])


def idempotent(view: View) -> View:
    """Let a view that creates something take an Idempotency-Key. Goes next to the route.

    The view waits for nothing but the database, and what it lets the world know it hands to `on_commit`.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Any:
        key = _key()
        if key is None:
            return view(*args, **kwargs)
        asked = idempotency.Request(user_id=caller().user_id, key=key, fingerprint=_fingerprint())
        answer, is_replayed = idempotency.answer_once(asked, lambda: _as_answer(make_response(view(*args, **kwargs))))
        response = Response(answer.body, status=answer.status, headers=dict(answer.headers))
        if is_replayed:
            response.headers[REPLAYED] = "true"
        return response

    once.is_idempotent = True  # type: ignore[attr-defined]
    return cast(View, once)


def is_idempotent(view: Callable[..., Any]) -> bool:
    """Tell whether a view was marked `@idempotent` (the mark survives `functools.wraps`)."""
    return getattr(view, "is_idempotent", False)


def _key() -> str | None:
    """The key of the current request, without its quotes. Raises MalformedRequest."""
    raw = request.headers.get(HEADER)
    if raw is None:
        return None
    if _BARE.fullmatch(raw):
        return raw
    quoted = _QUOTED.fullmatch(raw)
    if quoted is None:
        raise MalformedRequest(f"{HEADER} takes one key of 1 to {MAX_KEY_CHARACTERS} visible ASCII characters.")
    return _ESCAPED.sub(r"\1", quoted[1])


def _fingerprint() -> bytes:
    """A digest of what is asked for. The body comes over the network, so it is read before anything is held."""
    parts = (request.method.encode(), request.full_path.encode(), _canonical(read_body(request)))
    return hashlib.sha256(b"\0".join(parts)).digest()


def _canonical(body: bytes) -> bytes:
    try:
        return orjson.dumps(strict_json.loads(body), option=orjson.OPT_SORT_KEYS)
    except (ValueError, TypeError):  # no JSON, which the view refuses; or numbers of more than 64 bits
        return body


def _as_answer(response: Response) -> Answer:
    kept = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    return Answer(status=response.status_code, headers=kept, body=response.get_data())
