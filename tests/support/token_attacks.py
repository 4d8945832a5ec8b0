"""Attacks on access tokens, by name: what a forger might send, in every way that this service takes a token.

Signed by the tenant's real keys wherever the attack allows it, so that what is wrong with a token is what refuses it.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.auth.tokens import MAX_LIFETIME_SECONDS, MAX_TOKEN_BYTES
from tests.support.processes.tenant import AUDIENCE, CLIENT_ID
from tests.support.signing import base64url
from tests.support.tokens import Forger, misspelt, part, public_jwk

DAY = 86_400
Forge = Callable[[Forger], str]


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
        for kid in (
            *("", None, 7, ["a"], {"a": 1}, "a" * 4096, "x\0", "unknown", "../../../../dev/null", "/proc/self/environ"),
            *("' OR 1=1 --", "x' UNION SELECT 'key", "https://evil.example/key.pem", "|whoami", "__proto__"),
        )
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
            *("https://other.example", "", [], ["https://other.example"], [[AUDIENCE]], [AUDIENCE, 7]),
            *({"aud": AUDIENCE}, 7, True, AUDIENCE + "/", AUDIENCE.upper(), AUDIENCE[:-1]),
            *(f"{AUDIENCE} https://other.example", f"{AUDIENCE}\0", [AUDIENCE, None], [AUDIENCE.upper(), CLIENT_ID]),
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
        for value in ("9999999999", [9999999999], True, {}, -1, -(10**400), 10**400, 2**53 + 2, 1e300)
    },
    "exp of the last moment there is": {"claims": {"exp": 2**53}},
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


# What the tenant has not signed, or not so.
FORGERIES: dict[str, Forge] = {
    "the forger's key under the tenant's kid": lambda f: f.own(),
    "the forger's key, embedded": lambda f: f.own(jwk=public_jwk()),
    "the forger's key, embedded, under its own kid": lambda f: f.own(kid="own", jwk=public_jwk(kid="own")),
    "the forger's key, by jku": lambda f: f.own(jku=f.lure),
    "the forger's key, by x5u": lambda f: f.own(x5u=f.lure),
    "the forger's key, by x5c": lambda f: f.own(x5c=[base64.b64encode(b"certificate").decode()]),
    "the forger's key by jku under an unknown kid": lambda f: f.own(kid="own", jku=f.lure),
    **{
        f"HS256 keyed with the public key, {form}": lambda f, form=form: f.by_hmac(f.public_key(form))  # type: ignore[misc]
        for form in ("PEM", "PEM without its last line break", "PKCS#1", "DER", "JWK", "modulus", "modulus in base64")
    },
    "HS256 keyed with nothing": lambda f: f.by_hmac(b""),
    "ES256 of zeros": lambda f: f.unsigned(base64url(bytes(64)), alg="ES256"),
    "RS256 of nothing": lambda f: f.unsigned(),
    "alg none beside another ALG": lambda f: f.unsigned(alg="none", ALG="RS256"),
    "alg none over the old signature": lambda f: ".".join([part({"alg": "none", "kid": f.kid()}), *f.good()[1:]]),
    "the issuer in a list": lambda f: f.order(claims={"iss": [f.tenant.issuer]}),
    "the issuer in capitals": lambda f: f.order(claims={"iss": f.tenant.issuer.upper()}),
    "the issuer without its slash": lambda f: f.order(claims={"iss": f.tenant.issuer.rstrip("/")}),
    "the issuer with two slashes": lambda f: f.order(claims={"iss": f.tenant.issuer + "/"}),
    "the issuer and more": lambda f: f.order(claims={"iss": f.tenant.issuer + "@evil.example/"}),
    "the issuer within a host of the forger's": lambda f: f.order(
        claims={"iss": f.tenant.issuer.rstrip("/") + ".evil.example/"}
    ),
    "an ID token": lambda f: f.id_token(),
    "a token as the payload": lambda f: f.order(payload=f.order()),
    "another published key": lambda f: f.order(key="next", header={"kid": f.kid()}),
    "another user's claims under the signature": lambda f: f.with_claims(sub="auth0|other"),
    "a later end under the signature": lambda f: f.with_claims(exp=f.now + 7 * DAY),
    "an all-zero signature": lambda f: f.with_signature(lambda s: base64url(bytes(len(s) * 3 // 4))),
    "a truncated signature": lambda f: f.with_signature(lambda s: s[:-4]),
    "one character of a signature": lambda f: f.with_signature(lambda s: s[:1]),
    "an empty signature": lambda f: f.with_signature(lambda s: s[:0]),
    "a longer signature": lambda f: f.with_signature(lambda s: s + "AAAA"),
    "a signature in another spelling": lambda f: f.with_signature(misspelt),
    "a changed signature": lambda f: f.with_signature(lambda s: ("B" if s[0] == "A" else "A") + s[1:]),
    "a member twice in the header": lambda f: f.with_header(f'{{"alg":"none","alg":"RS256","kid":"{f.kid()}"}}'),
    "a header that is a list": lambda f: f.with_header("[]"),
    "a header that is no JSON": lambda f: f.with_header("{"),
    "a header 4,000 deep": lambda f: f.with_header('{"alg":' + "[" * 4000),
    "a header with NaN": lambda f: f.with_header(f'{{"alg":"RS256","kid":"{f.kid()}","x":NaN}}'),
    "a header with a lone surrogate": lambda f: f.with_header(r'{"alg":"RS256","kid":"\ud800"}'),
    "a header that is not UTF-8": lambda f: ".".join([base64url(b'{"alg":"RS256","kid":"\xff"}'), *f.good()[1:]]),
    "no payload": lambda f: "..".join(f.good()[::2]),
    "another order": lambda f: ".".join(f.good()[::-1]),
    "a dot before": lambda f: "." + f.order(),
    "a dot behind": lambda f: f.order() + ".",
    "full stops of another script": lambda f: "\N{FULLWIDTH FULL STOP}".join(f.good()),
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
    "the scheme twice": lambda f: f"Bearer {f.order()}",
    "the JSON serialisation in base64": lambda f: base64url(f.in_json(flat=True).encode()),
    "quotes": lambda f: f'"{f.order()}"',
}

# A comma parts a header in two, so in one of those these are two tokens and not one (RFC 6750 §2).
WITH_COMMAS: dict[str, Forge] = {
    "the flattened JSON serialisation": lambda f: f.in_json(flat=True),
    "the general JSON serialisation": lambda f: f.in_json(flat=False),
    "twice, with a comma": lambda f: ",".join([f.order()] * 2),
    "a comma behind": lambda f: f.order() + ",",
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
    claims = {"iat": forger.now} | {name: forger.now + seconds for name, seconds in dates.items()}
    return forger.order(claims=claims)


@dataclass(frozen=True)
class Attack:
    """How a token is made, and what it is refused as."""

    forge: Forge
    code: str = "INVALID_TOKEN"


def attacks() -> dict[str, Attack]:
    """All of the above, each under a name of its own; none of these may be let in."""
    orders = {name: Attack(lambda f, order=order: f.order(**order)) for name, order in ORDERS.items()}  # type: ignore[misc]
    payloads = {
        name: Attack(lambda f, payload=payload: f.order(payload=filled(payload, f)))  # type: ignore[misc]
        for name, payload in PAYLOADS.items()
    }
    forgeries = {name: Attack(forge) for name, forge in {**FORGERIES, **WITH_COMMAS}.items()}
    no_tokens = {name: Attack(lambda _, token=token: token) for name, token in NO_TOKENS.items()}  # type: ignore[misc]
    dates = {
        name: Attack(lambda f, row=row: dated(row, f), code)  # type: ignore[misc]
        for name, (row, code) in DATES.items()
        if code is not None
    }
    kinds = {"order": orders, "payload": payloads, "forgery": forgeries, "no token": no_tokens, "dates": dates}
    return {f"{kind}: {name}": attack for kind, each in kinds.items() for name, attack in each.items()}
