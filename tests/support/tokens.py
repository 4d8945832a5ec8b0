"""Tokens as a forger makes them: to the tenant's order, by a key of one's own, or cut from good ones."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from tests.support.processes.tenant import AUDIENCE, CLIENT_ID, CLIENT_SECRET, CONNECTION, PASSWORD, TenantProcess
from tests.support.signing import base64url

REALM = "http://auth0.com/oauth/grant-type/password-realm"


class Forger:
    """Tokens for a user that the service knows: by the tenant's own keys, or by the forger's.

    `lure` is where the forger would like keys to be fetched from.
    """

    def __init__(self, tenant: TenantProcess, subject: str, *, lure: str = "https://evil.example/jwks.json") -> None:
        self.tenant = tenant
        self.subject = subject
        self.lure = lure
        self.now = int(time.time())

    def order(self, *, claims: dict[str, Any] | None = None, **order: Any) -> str:
        """A token signed by the tenant."""
        return str(self.tenant.mint(claims={"sub": self.subject, **(claims or {})}, **order)["token"])

    def good(self) -> tuple[str, str, str]:
        """The three parts of a token that would be let in."""
        header, payload, signature = self.order().split(".")
        return header, payload, signature

    def kid(self) -> str:
        """What the tenant calls its current key."""
        return str(self.tenant.mint()["header"]["kid"])

    def own(self, **header: Any) -> str:
        """A token that is good but for its signature, which is by the forger's own key."""
        signed = self._signed(alg="RS256", **header)
        signature = _private_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64url(signature)}"

    def unsigned(self, signature: str = "", **header: Any) -> str:
        """A token that is good but for its signature, which is this."""
        return f"{self._signed(**header)}.{signature}"

    def by_hmac(self, key: bytes) -> str:
        """A token that is good but for being signed with a secret (RFC 8725 §2.1)."""
        signed = self._signed(alg="HS256")
        return f"{signed}.{base64url(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"

    def public_key(self, form: str) -> bytes:
        """What everybody may know of the tenant's key, in one of the forms in which a lenient library might take it."""
        published = published_key(self.tenant, self.kid())
        key = RSAKey.import_key(published).public_key
        pem, der = serialization.Encoding.PEM, serialization.Encoding.DER
        spki, pkcs1 = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1
        forms: dict[str, Callable[[], bytes]] = {
            "PEM": lambda: key.public_bytes(pem, spki),
            "PEM without its last line break": lambda: key.public_bytes(pem, spki).strip(),
            "PKCS#1": lambda: key.public_bytes(pem, pkcs1),
            "DER": lambda: key.public_bytes(der, spki),
            "JWK": lambda: json.dumps(published).encode(),
            "modulus": lambda: base64.urlsafe_b64decode(published["n"] + "=="),
            "modulus in base64": lambda: str(published["n"]).encode(),
        }
        return forms[form]()

    def id_token(self) -> str:
        """What the tenant gives an application to tell it who has logged in."""
        email = f"id-token-{time.time_ns()}@example.com"
        self.tenant.add_user(email)
        body = {"grant_type": REALM, "realm": CONNECTION, "username": email, "password": PASSWORD, "scope": "openid"}
        body |= {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "audience": AUDIENCE}
        return str(self.tenant.request("POST", "oauth/token", json=body).json()["id_token"])

    def with_claims(self, **changes: Any) -> str:
        """Other claims under the signature of a good token."""
        header, payload, signature = self.good()
        claims = json.loads(base64.urlsafe_b64decode(payload + "==="))
        return f"{header}.{part(claims | changes)}.{signature}"

    def with_header(self, header: str | bytes) -> str:
        """Another header, as it is, over the rest of a good token."""
        return ".".join([base64url(header.encode() if isinstance(header, str) else header), *self.good()[1:]])

    def with_signature(self, change: Callable[[str], str]) -> str:
        """A good token whose signature has been tampered with."""
        header, payload, signature = self.good()
        return f"{header}.{payload}.{change(signature)}"

    def in_json(self, *, flat: bool) -> str:
        """A good token in one of the other two serialisations (RFC 7515 §7.2)."""
        protected, payload, signature = self.good()
        signed = {"protected": protected, "signature": signature}
        return json.dumps({"payload": payload, **(signed if flat else {"signatures": [signed]})})

    def _signed(self, **header: Any) -> str:
        return f"{part({'alg': 'RS256', 'typ': 'JWT', 'kid': self.kid(), **header})}.{self.good()[1]}"


@cache
def published_key(tenant: TenantProcess, kid: str) -> dict[str, Any]:
    """What everybody may know of a key of the tenant's. Asks the tenant, the first time."""
    keys = tenant.request("GET", ".well-known/jwks.json").json()["keys"]
    return next(dict(key) for key in keys if key["kid"] == kid)


def public_jwk(**members: Any) -> dict[str, Any]:
    """The forger's own key, for whoever believes it."""
    return dict(RSAKey.import_key(_private_key().public_key()).as_dict(private=False)) | members


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def part(value: Any) -> str:
    return base64url(json.dumps(value).encode())


def misspelt(encoded: str) -> str:
    """The same bytes in base64, but with bits set behind their end (RFC 4648 §3.5)."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(encoded) % 4 in (2, 3), "there are no bits to spare"
    return encoded[:-1] + alphabet[alphabet.index(encoded[-1]) + 1]
