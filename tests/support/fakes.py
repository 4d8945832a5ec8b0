"""A clock that a test moves, and an identity provider within the test process."""

from collections.abc import Mapping
from functools import cache
from threading import Event, Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc.jwk import RSAKey

from app.errors import Unavailable

PATIENCE_SECONDS = 30  # only a defect waits so long


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class FakeIdentityProvider:
    """Publishes a key set and counts fetches; can be down or slow."""

    def __init__(self, *kids: str) -> None:
        self.document: Mapping[str, Any] = {}
        self.fetches = 0
        self.is_down = False
        self.answering = Event()
        self.answering.set()
        self._lock = Lock()
        self.publish(*kids)

    def fetch(self) -> Mapping[str, Any]:
        """The document of the JWKS endpoint, once `answering` is set. Raises Unavailable if it is down."""
        with self._lock:
            self.fetches += 1
        assert self.answering.wait(PATIENCE_SECONDS)
        if self.is_down:
            raise Unavailable("down")
        return self.document

    def publish(self, *kids: str) -> None:
        self.document = {"keys": [public_jwk(kid) for kid in kids]}


@cache
def rsa_key(name: str, bits: int = 2048) -> RSAKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    return RSAKey.import_key(key, {"kid": name, "use": "sig", "alg": "RS256"})


def public_jwk(name: str, **changes: Any) -> dict[str, Any]:
    """The public JWK of that key with these members changed; None removes a member."""
    members = rsa_key(name).as_dict(private=False) | changes
    return {name: value for name, value in members.items() if value is not None}
