"""Access tokens signed in the test process with the keys in a tenant's state directory."""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc.jwk import RSAKey

from deploy.local.tenant.config import DEFAULT_TOKEN_LIFETIME_SECONDS
from deploy.local.tenant.keys import make_key

_RSA_HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}


class TokenSigner:
    """Signs tokens as the tenant does, with any header and claims.

    The signer follows key rotations: it reads the tenant's key file again when that file has changed.
    """

    def __init__(self, state: Path, *, issuer: str, audience: str, client_id: str) -> None:
        self._path = state / "keys.json"
        self.issuer, self._audience, self._client_id = issuer, audience, client_id
        self._keys: dict[str, RSAKey] = {}
        self._written_at = 0

    def sign(
        self,
        *,
        claims: dict[str, Any] | None = None,
        header: dict[str, Any] | None = None,
        drop: Sequence[str] = (),
        drop_header: Sequence[str] = (),
        key: str = "current",
        payload: str | None = None,
    ) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """The token, its claims and its header; by default a valid access token of a random subject.

        `key` is current, next or unpublished. `payload` replaces the JSON of the claims. An
        `alg` of RS256, RS384 or RS512 is signed for real; "none" has an empty signature; HS256 is keyed with the public
        key's PEM (RFC 8725 §2.1); any other name is put over an RS256 signature.
        """
        signing_key = self.key(key)
        header = {"alg": "RS256", "typ": "JWT", "kid": signing_key.kid} | (header or {})
        header = {name: value for name, value in header.items() if name not in drop_header}
        claims = self._default_claims() | (claims or {})
        claims = {name: value for name, value in claims.items() if name not in drop}
        text = json.dumps(claims) if payload is None else payload
        signed = f"{base64url(json.dumps(header).encode())}.{base64url(text.encode('utf-8', 'surrogatepass'))}"
        signature = base64url(_signature(str(header.get("alg")), signing_key, signed.encode()))
        return f"{signed}.{signature}", claims, header

    def key(self, name: str = "current") -> RSAKey:
        """One of the tenant's private keys; "unpublished" is one that no key set ever held."""
        if name == "unpublished":
            if name not in self._keys:
                self._keys[name] = make_key()
            return self._keys[name]
        self._read()
        return self._keys[name]

    def _read(self) -> None:
        written_at = self._path.stat().st_mtime_ns
        if written_at == self._written_at:
            return
        state = json.loads(self._path.read_text())
        self._keys |= {name: RSAKey.import_key(state[name]) for name in ("current", "next")}
        self._written_at = written_at

    def _default_claims(self) -> dict[str, Any]:
        now = int(time.time())
        return {
            "iss": self.issuer,
            "sub": f"auth0|{secrets.token_hex(12)}",
            "aud": [self._audience, f"{self.issuer}userinfo"],
            "iat": now,
            "exp": now + DEFAULT_TOKEN_LIFETIME_SECONDS,
            "scope": "openid profile email",
            "azp": self._client_id,
        }


def _signature(algorithm: str, key: RSAKey, signed: bytes) -> bytes:
    if algorithm.lower() == "none":
        return b""
    private = key.private_key
    assert isinstance(private, RSAPrivateKey)
    if algorithm == "HS256":
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hmac.new(private.public_key().public_bytes(*form), signed, hashlib.sha256).digest()
    return private.sign(signed, padding.PKCS1v15(), _RSA_HASHES.get(algorithm, hashes.SHA256()))


def base64url(content: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
