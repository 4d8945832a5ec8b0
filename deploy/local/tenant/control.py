"""``/_control``: switches for tests. On loopback only, JSON only, and absent with ``TENANT_CONTROL=false``."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from functools import partial
from typing import Any

import gevent
from flask import Blueprint, Response, jsonify, request

from .context import tenant
from .faults import ANY, ENDPOINTS, MODES, Fault
from .forge import KEYS, MAX_TOKENS, NoSuchKey, Order, mint
from .params import BadParameters, json_body

blueprint = Blueprint("control", __name__, url_prefix="/_control")

MAX_FAULT_SECONDS = 3_600
EXISTING_USER_CODES = ("user_exists", "invalid_signup")
SWITCHES = {
    "GET /_control": "this list",
    "GET /_control/counters": "requests per endpoint, and the last auth0-forwarded-for per e-mail",
    "DELETE /_control/counters": "count from zero",
    "POST /_control/keys/rotate": {"mode": ["normal", "revoke"]},
    "GET /_control/fault": "the faults that are set",
    "POST /_control/fault": {"endpoint": [*ENDPOINTS, ANY], "mode": MODES, "seconds": "number", "times": "number|null"},
    "DELETE /_control/fault": "end every fault",
    "POST /_control/token": {
        "claims": "object",
        "header": "object",
        "drop": ["claim"],
        "drop_header": ["member"],
        "key": KEYS,
        "payload": "text to sign in place of the claims",
        "count": f"1 to {MAX_TOKENS}: the answer is a list; so it is for a list of orders",
    },
    "POST /_control/users/{email}": {"email_verified": "boolean", "blocked": "boolean"},
    "GET /_control/trap": "where the fault 'redirect' leads; counted",
    "POST /_control/settings": {"existing_user_code": EXISTING_USER_CODES},
}


@blueprint.before_request
def _same_machine_only() -> tuple[Response, int] | None:
    # A page in the developer's browser can post a form here without asking; it cannot send this content type so.
    if request.method == "POST" and request.mimetype != "application/json":
        return jsonify(error="Content-Type must be application/json"), 415
    return None


@blueprint.get("")
def switches() -> Response:
    """Every switch with what it takes."""
    return jsonify(SWITCHES)


@blueprint.get("/counters")
def counters() -> Response:
    """{endpoints: {name: requests}, forwarded_for: {email: value|null}}: all received, failed and refused ones too."""
    return jsonify(tenant().faults.counters())


@blueprint.delete("/counters")
def reset_counters() -> Response:
    """Count from zero."""
    tenant().faults.reset_counters()
    return Response(status=204)


@blueprint.post("/keys/rotate")
def rotate() -> Response:
    """Rotate the signing keys: see KeyRing.rotate. Answers with the public set as it is now."""
    mode = _object(mode="normal")["mode"]
    if mode not in ("normal", "revoke"):
        raise BadParameters("mode must be 'normal' or 'revoke'")
    keys = tenant().keys
    gevent.get_hub().threadpool.apply(partial(keys.rotate, revoke=mode == "revoke"))
    return jsonify(keys.public_set())


@blueprint.get("/fault")
def faults() -> Response:
    """The faults that are set, by endpoint."""
    return jsonify(tenant().faults.active())


@blueprint.post("/fault")
def set_fault() -> Response:
    """Let an endpoint misbehave. Answers with the faults that are set."""
    body = _object(endpoint=None, mode=None, seconds=0, times=None)
    if body["endpoint"] not in (*ENDPOINTS, ANY) or body["mode"] not in MODES:
        raise BadParameters("endpoint or mode is unknown: GET /_control lists them")
    seconds, times = body["seconds"], body["times"]
    if type(seconds) not in (int, float) or not 0 <= seconds <= MAX_FAULT_SECONDS:
        raise BadParameters(f"seconds must be a number from 0 to {MAX_FAULT_SECONDS}")
    if times is not None and (type(times) is not int or times < 0):
        raise BadParameters("times must be a whole number or null")
    tenant().faults.set(body["endpoint"], Fault(body["mode"], seconds, times))
    return faults()


@blueprint.delete("/fault")
def clear_faults() -> Response:
    """End every fault."""
    tenant().faults.clear()
    return Response(status=204)


@blueprint.post("/token")
def token() -> Response:
    """{token, claims, header} as ordered: see forge.Order. A list of orders, or ``count``, is answered with a list."""
    body = json_body()
    orders = [_order(item) for item in (body if isinstance(body, list) else [body])]
    if not 0 <= sum(order.count for order in orders) <= MAX_TOKENS:
        raise BadParameters(f"At most {MAX_TOKENS} tokens at once")
    each = [replace(order, count=1) for order in orders for _ in range(order.count)]
    here = tenant()
    minted = gevent.get_hub().threadpool.apply(lambda: [mint(here, order) for order in each])
    return jsonify(minted if isinstance(body, list) or "count" in body else minted[0])


@blueprint.post("/users/<path:email>")
def change_user(email: str) -> tuple[Response, int] | Response:
    """Verify or block an account; what is left out stays. Answers {user_id, email, email_verified, blocked}, or 404."""
    store = tenant().store
    user = store.find_user(email)
    if user is None:
        return jsonify(error="no such user"), 404
    flags = _object(email_verified=user.email_verified, blocked=user.blocked)
    if not all(isinstance(value, bool) for value in flags.values()):
        raise BadParameters("email_verified and blocked must be booleans")
    store.change_user(user, **flags)
    return jsonify({"user_id": user.sub, "email": user.email} | flags)


@blueprint.route("/trap", methods=["GET", "POST"])
def trap() -> Response:
    """Where the fault "redirect" leads: a client that gets here has followed it."""
    return jsonify(trapped=True)


@blueprint.post("/settings")
def settings() -> Response:
    """Choose what a second sign-up of one e-mail is answered with. Answers with the settings."""
    code = _object(existing_user_code=tenant().existing_user_code)["existing_user_code"]
    if code not in EXISTING_USER_CODES:
        raise BadParameters(f"existing_user_code must be one of {', '.join(EXISTING_USER_CODES)}")
    tenant().existing_user_code = code
    return jsonify(existing_user_code=code)


@blueprint.errorhandler(BadParameters)
def _bad_parameters(error: BadParameters) -> tuple[Response, int]:
    return jsonify(error=str(error)), 400


@blueprint.errorhandler(NoSuchKey)
def _no_such_key(_error: NoSuchKey) -> tuple[Response, int]:
    return jsonify(error="there is no previous key before the first rotation"), 409


def _object(**defaults: Any) -> dict[str, Any]:
    body = json_body()
    if not isinstance(body, dict) or not body.keys() <= defaults.keys():
        raise BadParameters(f"The body must be an object of: {', '.join(defaults)}")
    return defaults | body


def _order(item: object) -> Order:
    kinds = asdict(Order()) | {"payload": ""}
    if not isinstance(item, dict) or not item.keys() <= {field.name for field in fields(Order)}:
        raise BadParameters(f"An order must be an object of: {', '.join(kinds)}")
    for name, value in item.items():
        if not isinstance(value, type(kinds[name])):
            raise BadParameters(f"{name} must be of type {type(kinds[name]).__name__}")
    order = Order(**item)
    if order.key not in KEYS or isinstance(order.count, bool) or order.count < 1:
        raise BadParameters(f"key must be one of {', '.join(KEYS)} and count at least 1")
    return order
