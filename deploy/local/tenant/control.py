"""``/_control``: switches for tests. On loopback only, JSON only, and absent with ``TENANT_CONTROL=false``."""

from __future__ import annotations

from functools import partial
from typing import Any

import gevent
from flask import Blueprint, Response, jsonify, request

from .context import tenant
from .faults import ANY, ENDPOINTS, MODES, Fault
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


def _object(**defaults: Any) -> dict[str, Any]:
    body = json_body()
    if not isinstance(body, dict) or not body.keys() <= defaults.keys():
        raise BadParameters(f"The body must be an object of: {', '.join(defaults)}")
    return defaults | body
