"""The tenant's signing keys as Auth0 keeps them: previous, current, next ("Signing Keys", "Rotate Signing Keys")."""

from __future__ import annotations

import base64
import datetime
import json
import secrets
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from .files import StateError, read_or_create, replace

KEY_BITS = 2048
PREVIOUS_KEYS = 5  # how many rotated-out keys stay published; the oldest leaves first
CERTIFICATE_DAYS = 5_110  # 14 years, as on Auth0's own self-signed certificates


class KeyRing:
    """The keys and their file, which is rewritten before a rotation becomes visible.

    ``rotate`` makes keys and so takes a few hundred milliseconds: call it in a thread.
    """

    def __init__(self, path: Path) -> None:
        """Load the keys, or make the first two. Raises StateError if the file is not ours."""
        self._path = path
        content = read_or_create(path, lambda: _dump(make_key(), make_key(), []))
        try:
            state = json.loads(content)
            self.current = RSAKey.import_key(state["current"])  # once: it checks the primes, which takes 50 ms
            self.next = RSAKey.import_key(state["next"])
            self.previous = [RSAKey.import_key(jwk) for jwk in state["previous"]]
        except (ValueError, KeyError, TypeError, JoseError) as error:
            reason = f"{path} holds no usable keys ({type(error).__name__}); remove it to make new ones"
            raise StateError(reason) from None

    def rotate(self, *, revoke: bool) -> None:
        """Make the next key current. With ``revoke`` every key so far is withdrawn at once and two are made anew.

        After a plain rotation the previous key stays published until it is revoked, so tokens signed with it remain
        valid ("Rotate Signing Keys"). With ``revoke`` they do not ("Revoke Signing Keys").
        """
        current = make_key() if revoke else self.next
        previous = [] if revoke else [self.current, *self.previous][:PREVIOUS_KEYS]
        upcoming = make_key()
        replace(self._path, _dump(current, upcoming, previous))
        self.current, self.next, self.previous = current, upcoming, previous

    def published(self) -> KeySet:
        """The keys that verify a token: current, next, then previous."""
        return KeySet([self.current, self.next, *self.previous])

    def public_set(self) -> dict[str, Any]:
        """The JWK Set of RFC 7517 §5 as it is published: without the private members of RFC 7518 §6.3.2."""
        return {"keys": [key.as_dict(private=False) for key in self.published().keys]}


def make_key() -> RSAKey:
    """A new private RS256 key with the members that Auth0 publishes (RFC 7517 §4, RFC 7518 §6.3)."""
    private = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    certificate = _self_signed(private)
    der = certificate.public_bytes(serialization.Encoding.DER)
    thumbprint = certificate.fingerprint(hashes.SHA1())  # noqa: S303 - RFC 7517 §4.8 defines x5t so; it secures nothing
    members: dict[str, str | list[str]] = {
        "use": "sig",
        "alg": "RS256",
        "kid": secrets.token_urlsafe(16),
        "x5t": base64.urlsafe_b64encode(thumbprint).rstrip(b"=").decode(),
        "x5c": [base64.b64encode(der).decode()],
    }
    return RSAKey.import_key(RSAKey.import_key(private).as_dict(private=True) | members)


def _self_signed(private: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tenant.localhost")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(private.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=CERTIFICATE_DAYS))
    return builder.sign(private, hashes.SHA256())


def _dump(current: RSAKey, upcoming: RSAKey, previous: list[RSAKey]) -> bytes:
    jwks = [key.as_dict(private=True) for key in (current, upcoming, *previous)]
    return json.dumps({"current": jwks[0], "next": jwks[1], "previous": jwks[2:]}).encode()
