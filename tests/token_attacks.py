"""Attacks on access tokens, by name: what a forger might send, in every way that this service takes a token.

Signed by the tenant's real keys wherever the attack allows it, so that what is wrong with a token is what refuses it.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from joserfc.jwk import RSAKey

from app.auth.tokens import MAX_LIFETIME_SECONDS, MAX_TOKEN_BYTES
from tests.local.tenant_process import AUDIENCE, CLIENT_ID, TenantProcess

DAY = 86_400
Forge = Callable[["Forger"], str]


class Forger:
    """Tokens for a user that the service knows: by the tenant's own keys, or by the forger's."""

    def __init__(self, tenant: TenantProcess, subject: str) -> None:
        self.tenant = tenant
        self.subject = subject
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
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT', 'kid': self.kid(), **header})}.{self.good()[1]}"
        signature = _private_key().sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64url(signature)}"


@cache
def _private_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _public_jwk() -> dict[str, Any]:
    return dict(RSAKey.import_key(_private_key().public_key()).as_dict(private=False))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _part(value: Any) -> str:
    return _base64url(json.dumps(value).encode())


# What the tenant would not make, though its key signs it: orders for `TenantProcess.mint`.
ORDERS: dict[str, dict[str, Any]] = {
    **{f"alg {alg}": {"header": {"alg": alg}} for alg in ("none", "None", "NONE", "nOnE", "nonE")},
    "HS256 keyed with the public key": {"header": {"alg": "HS256"}},
    **{f"alg {alg}": {"header": {"alg": alg}} for alg in ("RS384", "RS512", "PS256", "ES256", "rs256", "", "RS256 ")},
    "alg that is a list": {"header": {"alg": ["RS256"]}},
    "alg that is null": {"header": {"alg": None}},
    "no alg": {"drop_header": ["alg"]},
    "no kid": {"drop_header": ["kid"]},
    **{
        f"kid {kid!r:.30}": {"header": {"kid": kid}}
        for kid in ("", None, 7, ["a"], {"a": 1}, "a" * 4096, "../../../../dev/null", "' OR 1=1 --", "x\0", "unknown")
    },
    "a key that the tenant never published": {"key": "unpublished"},
    **{
        f"header {name}": {"header": {name: value}}
        for name, value in {
            "crit": ["exp"],
            "crit of nothing": [],
            "b64": False,
            "zip": "DEF",
            "enc": "A256GCM",
            "jwk": {},
            "x5c": [],
            "jku": "https://evil.example/jwks.json",
            "x5u": "https://evil.example/key.pem",
            "typ": "dpop+jwt",
        }.items()
    },
    **{f"typ {typ!r}": {"header": {"typ": typ}} for typ in (7, None, "JWE", "id_token")},
    **{f"no {claim}": {"drop": [claim]} for claim in ("iss", "aud", "sub", "iat", "exp")},
    **{f"{claim} null": {"claims": {claim: None}} for claim in ("iss", "aud", "sub", "iat", "exp", "nbf")},
    **{
        f"aud {aud!r:.40}": {"claims": {"aud": aud}}
        for aud in (
            "https://other.example",
            "",
            [],
            ["https://other.example"],
            [[AUDIENCE]],
            [AUDIENCE, 7],
            {"aud": AUDIENCE},
            7,
            True,
            AUDIENCE + "/",
            AUDIENCE.upper(),
            CLIENT_ID,
        )
    },
    **{
        f"iss {iss!r:.40}": {"claims": {"iss": iss}}
        for iss in ("https://other.eu.auth0.com/", "https://other.eu.auth0.com", "", 7, ["https://other.example/"])
    },
    **{
        f"sub {sub!r:.20}": {"claims": {"sub": sub}}
        for sub in ("", "x" * 300, 7, ["auth0|1"], True, "auth0|\0", "auth0|\n1", "auth0|\x7f", "auth0|\u202e1")
    },
    **{
        f"{claim} {value!r:.20}": {"claims": {claim: value}}
        for claim in ("exp", "iat", "nbf")
        for value in ("9999999999", [9999999999], True, {}, -1, -(10**400), 10**400, 2**53 + 2)
    },
}


# Payloads that can be read in two ways, or in none; their braces are for `str.format`.
CLAIMS_TEXT = '"iss":"{iss}","aud":"{aud}","sub":"{sub}","iat":{now},"exp":{later}'
PAYLOADS = {
    "sub twice": "{{" + CLAIMS_TEXT + ',"sub":"auth0|other"}}',
    "sub twice, once escaped": "{{" + CLAIMS_TEXT + r',"\u0073ub":"auth0|other"}}',
    "exp twice": "{{" + CLAIMS_TEXT + ',"exp":9999999999}}',
    "a member twice further down": "{{" + CLAIMS_TEXT + ',"x":{{"y":1,"y":2}}}}',
    "exp NaN": '{{"exp":NaN,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "exp Infinity": '{{"exp":Infinity,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "exp 1e400": '{{"exp":1e400,' + CLAIMS_TEXT.rpartition(",")[0] + "}}",
    "a number of 5,000 digits": "{{" + CLAIMS_TEXT + ',"x":' + "9" * 5000 + "}}",
    "5,000 deep": "{{" + CLAIMS_TEXT + ',"x":' + "[" * 5000,
    "2,500 deep, closed": "{{" + CLAIMS_TEXT + ',"x":' + "[" * 2500 + "]" * 2500 + "}}",
    "a lone surrogate, escaped": "{{" + CLAIMS_TEXT + r',"x":"\ud800"}}',
    "a lone surrogate in a name": "{{" + CLAIMS_TEXT + r',"\udfff":1}}',
    "a lone surrogate in UTF-8's form": "{{" + CLAIMS_TEXT + ',"x":"\ud800"}}',
    "a list": "[{{" + CLAIMS_TEXT + "}}]",
    "text": '"claims"',
    "null": "null",
    "nothing": "",
    "no JSON": "{{" + CLAIMS_TEXT,
    "a comment": "{{" + CLAIMS_TEXT + "}}//",
}


def _with_claims(forger: Forger, **changes: Any) -> str:
    header, payload, signature = forger.good()
    claims = json.loads(base64.urlsafe_b64decode(payload + "==="))
    return f"{header}.{_part(claims | changes)}.{signature}"


def _with_header(forger: Forger, header: str) -> str:
    return ".".join([_base64url(header.encode()), *forger.good()[1:]])


def _with_signature(forger: Forger, change: Callable[[str], str]) -> str:
    header, payload, signature = forger.good()
    return f"{header}.{payload}.{change(signature)}"


# What the tenant has not signed, or not so.
FORGERIES: dict[str, Callable[[Forger], str]] = {
    "the forger's key under the tenant's kid": lambda f: f.own(),
    "the forger's key, embedded": lambda f: f.own(jwk=_public_jwk()),
    "the forger's key, embedded, under its own kid": lambda f: f.own(kid="own", jwk=_public_jwk() | {"kid": "own"}),
    "the forger's key, by jku": lambda f: f.own(jku=f.tenant.url("_control/trap")),
    "the forger's key, by x5u": lambda f: f.own(x5u=f.tenant.url("_control/trap")),
    "the forger's key, by x5c": lambda f: f.own(x5c=[base64.b64encode(b"certificate").decode()]),
    "the forger's key by jku under an unknown kid": lambda f: f.own(kid="own", jku=f.tenant.url("_control/trap")),
    "alg none over the old signature": lambda f: ".".join([_part({"alg": "none", "kid": f.kid()}), *f.good()[1:]]),
    "another user's claims under the signature": lambda f: _with_claims(f, sub="auth0|other"),
    "a later end under the signature": lambda f: _with_claims(f, exp=f.now + 7 * DAY),
    "an all-zero signature": lambda f: _with_signature(f, lambda s: _base64url(bytes(len(s) * 3 // 4))),
    "a truncated signature": lambda f: _with_signature(f, lambda s: s[:-4]),
    "one character of a signature": lambda f: _with_signature(f, lambda s: s[:1]),
    "an empty signature": lambda f: _with_signature(f, lambda s: s[:0]),
    "a longer signature": lambda f: _with_signature(f, lambda s: s + "AAAA"),
    "a changed signature": lambda f: _with_signature(f, lambda s: ("B" if s[0] == "A" else "A") + s[1:]),
    "a member twice in the header": lambda f: _with_header(f, f'{{"alg":"none","alg":"RS256","kid":"{f.kid()}"}}'),
    "a header that is a list": lambda f: _with_header(f, "[]"),
    "a header that is no JSON": lambda f: _with_header(f, "{"),
    "a header 4,000 deep": lambda f: _with_header(f, '{"alg":' + "[" * 4000),
    "a header with NaN": lambda f: _with_header(f, f'{{"alg":"RS256","kid":"{f.kid()}","x":NaN}}'),
    "a header with a lone surrogate": lambda f: _with_header(f, r'{"alg":"RS256","kid":"\ud800"}'),
    "a header that is not UTF-8": lambda f: ".".join([_base64url(b'{"alg":"RS256","kid":"\xff"}'), *f.good()[1:]]),
    "one part": lambda f: f.good()[1],
    "two parts": lambda f: ".".join(f.good()[:2]),
    "four parts": lambda f: f.order() + ".AAAA",
    "five parts, as of encryption": lambda f: f.order() + ".AAAA.AAAA",
    "padding": lambda f: ".".join(part + "=" * (-len(part) % 4) for part in f.good()),
    "padding at the end": lambda f: f.order() + "==",
    "the other base64": lambda f: f.order().replace("-", "+").replace("_", "/") + "/",
    "a line break at the end": lambda f: f.order() + "\n",
    "a line break within": lambda f: "\n".join([f.order()[:50], f.order()[50:]]),
    "a folded line": lambda f: ".\r\n ".join(f.good()),
    "a space within": lambda f: " .".join(f.good()),
    "a space at the end": lambda f: f.order() + " ",
    "a NUL at the end": lambda f: f.order() + "\0",
    "letters beyond ASCII": lambda f: f.order() + "é",
    "quotes": lambda f: f'"{f.order()}"',
}


# What is no token at all.
NO_TOKENS = {
    "a word": "null",
    "empty parts": "..",
    "only dots": "....",
    "one byte too many": "a" * (MAX_TOKEN_BYTES + 1),
    "a megabyte": "a" * 1024 * 1024,
    "a megabyte of dots": "." * 1024 * 1024,
    "a megabyte in three parts": ".".join(["A" * 349_525] * 3),
}


# Seconds from now for each date, and the code of the refusal; None: it is let in.
DATES: dict[str, tuple[dict[str, float], str | None]] = {
    "expired an hour ago": ({"iat": -7200, "exp": -3600}, "TOKEN_EXPIRED"),
    "expired just beyond the leeway": ({"iat": -120, "exp": -61}, "TOKEN_EXPIRED"),
    "expired in 1970": ({"iat": -(10**9), "exp": -(10**9) + 60}, "TOKEN_EXPIRED"),
    "expired 30 s ago, by another clock": ({"iat": -120, "exp": -30}, None),
    "ends at a fraction of a second": ({"exp": 60.5}, None),
    "not before an hour from now": ({"nbf": 3600}, "INVALID_TOKEN"),
    "not before 30 s from now, by another clock": ({"nbf": 30}, None),
    "not before an hour ago": ({"nbf": -3600}, None),
    "issued an hour from now": ({"iat": 3600, "exp": 7200}, "INVALID_TOKEN"),
    "issued 30 s from now, by another clock": ({"iat": 30}, None),
    "lives 31 days": ({"exp": 31 * DAY}, "INVALID_TOKEN"),
    "lives 31 days, of which it has 29 left": ({"iat": -2 * DAY, "exp": 29 * DAY}, "INVALID_TOKEN"),
    "lives 30 days": ({"iat": 0, "exp": MAX_LIFETIME_SECONDS}, None),
}


def filled(payload: str, forger: Forger) -> str:
    """One of `PAYLOADS`, about the forger's user."""
    values = {"iss": forger.tenant.issuer, "aud": AUDIENCE, "sub": forger.subject}
    return payload.format(**values, now=forger.now, later=forger.now + 60)


def dated(dates: dict[str, float], forger: Forger) -> str:
    """A token with one of `DATES`."""
    claims = {"iat": forger.now} | {name: forger.now + seconds for name, seconds in dates.items()}
    return forger.order(claims=claims)


def attacks() -> Iterator[tuple[str, Forge]]:
    """All of the above, each under a name of its own; none of these may be let in."""
    for name, order in ORDERS.items():
        yield f"order: {name}", lambda f, order=order: f.order(**order)  # type: ignore[misc]
    for name, payload in PAYLOADS.items():
        yield f"payload: {name}", lambda f, payload=payload: f.order(payload=filled(payload, f))  # type: ignore[misc]
    for name, forge in FORGERIES.items():
        yield f"forgery: {name}", forge
    for name, token in NO_TOKENS.items():
        yield f"no token: {name}", lambda _, token=token: token  # type: ignore[misc]
    for name, (dates, code) in DATES.items():
        if code is not None:
            yield f"dates: {name}", lambda f, dates=dates: dated(dates, f)  # type: ignore[misc]
