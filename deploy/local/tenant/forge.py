"""Tokens for tests: signed with the tenant's real keys, with whatever header and claims the test wants."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from joserfc.jwk import RSAKey

from .context import Tenant

KEYS = ("current", "next", "previous", "unpublished")
MAX_TOKENS = 500  # one request's worth; each costs about a millisecond
_RSA_HASHES = {"RS256": hashes.SHA256(), "RS384": hashes.SHA384(), "RS512": hashes.SHA512()}


class NoSuchKey(Exception):
    """There is no previous key before the first rotation."""


@dataclass(frozen=True)
class Order:
    """One kind of token. ``payload``, if given, is signed as it is in place of the claims: JSON or not."""

    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    drop_header: list[str] = field(default_factory=list)
    key: str = "current"
    payload: str | None = None
    count: int = 1


def mint(tenant: Tenant, order: Order) -> dict[str, Any]:
    """{token, claims, header}: by default a valid access token of a made-up subject. Raises NoSuchKey.

    A header ``alg`` of RS256, RS384 or RS512 is signed for real; "none" has an empty signature; HS256 is keyed with
    the *public* key's PEM (the classical confusion of RFC 8725 §2.1); any other name sits over an RS256 signature.
    """
    key = _key(tenant, order.key)
    header = {"alg": "RS256", "typ": "JWT", "kid": key.kid} | order.header
    header = {name: value for name, value in header.items() if name not in order.drop_header}
    claims = _default_claims(tenant) | order.claims
    claims = {name: value for name, value in claims.items() if name not in order.drop}
    payload = json.dumps(claims) if order.payload is None else order.payload
    signed = f"{_base64url(json.dumps(header).encode())}.{_base64url(payload.encode('utf-8', 'surrogatepass'))}"
    signature = _base64url(_signature(str(header.get("alg")), key, signed.encode()))
    return {"token": f"{signed}.{signature}", "claims": claims, "header": header}


def _default_claims(tenant: Tenant) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": tenant.config.issuer,
        "sub": f"auth0|{secrets.token_hex(12)}",
        "aud": [tenant.config.audience, tenant.config.userinfo_audience],
        "iat": now,
        "exp": now + tenant.config.token_lifetime_seconds,
        "scope": "openid profile email",
        "azp": tenant.config.client_id,
    }


def _key(tenant: Tenant, name: str) -> RSAKey:
    if name == "unpublished":
        return tenant.keys.unpublished()
    if name == "previous":
        if tenant.keys.retired is None:
            raise NoSuchKey
        return tenant.keys.retired
    return tenant.keys.next if name == "next" else tenant.keys.current


def _signature(algorithm: str, key: RSAKey, signed: bytes) -> bytes:
    if algorithm.lower() == "none":
        return b""
    private = key.private_key
    if not isinstance(private, RSAPrivateKey):
        raise TypeError("every key of the ring is private")
    if algorithm == "HS256":
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        return hmac.new(private.public_key().public_bytes(*form), signed, hashlib.sha256).digest()
    return private.sign(signed, padding.PKCS1v15(), _RSA_HASHES.get(algorithm, hashes.SHA256()))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
