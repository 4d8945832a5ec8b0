"""A token that held is not looked at again; and what its answer rests on is, each time: the clock and the key.

Time and the tenant are played here. What a token must be like is in `tests/api/test_tokens.py`.
"""

from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from app.auth import tokens
from app.auth.tokens import LEEWAY_SECONDS, STALE_LIMIT_SECONDS, KeySetCache, TokenVerifier
from app.errors import InvalidToken, TokenExpired, Unavailable
from tests.support.fakes import Clock, Tenant, public_jwk, rsa_key

TTL_SECONDS = 3600
LIFETIME_SECONDS = 86_400
ISSUER = "https://tenant.example/"


class Looks:
    """How many tokens were looked at, signature and all."""

    def __init__(self, look: Callable[..., object]) -> None:
        self._look = look
        self.number = 0

    def __call__(self, *args: Any, **options: Any) -> object:
        self.number += 1
        return self._look(*args, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tenant() -> Tenant:
    return Tenant("a", "b")


@pytest.fixture
def keys(tenant: Tenant, clock: Clock) -> KeySetCache:
    return KeySetCache(tenant.fetch, ttl_seconds=TTL_SECONDS, clock=clock)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    counting = Looks(jws.deserialize_compact)
    monkeypatch.setattr(jws, "deserialize_compact", counting)
    return counting


@pytest.fixture
def verifier(keys: KeySetCache, clock: Clock) -> TokenVerifier:
    return TokenVerifier(keys.key, issuer=ISSUER, audience="api", clock=clock)


def made(clock: Clock, *, kid: str = "a", key: RSAKey | None = None, **changes: Any) -> str:
    now = int(clock())
    claims = {"iss": ISSUER, "aud": "api", "sub": "s", "iat": now, "exp": now + LIFETIME_SECONDS} | changes
    return jwt.encode({"alg": "RS256", "kid": kid}, claims, key or rsa_key(kid))


def test_a_token_that_held_is_not_looked_at_again(verifier: TokenVerifier, clock: Clock, looks: Looks) -> None:
    token = made(clock)
    first = verifier.verify(token)
    assert [verifier.verify(token) for _ in range(10)] == [first] * 10
    assert looks.number == 1


def test_a_token_that_did_not_hold_is_looked_at_each_time(verifier: TokenVerifier, clock: Clock, looks: Looks) -> None:
    forged = made(clock, key=rsa_key("b"))
    for _ in range(3):
        with pytest.raises(InvalidToken):
            verifier.verify(forged)
    assert looks.number == 3


def test_a_token_that_was_refused_for_its_time_holds_when_that_has_come(verifier: TokenVerifier, clock: Clock) -> None:
    token = made(clock, nbf=clock() + 2 * LEEWAY_SECONDS)
    with pytest.raises(InvalidToken):
        verifier.verify(token)
    clock.now += LEEWAY_SECONDS
    assert verifier.verify(token).subject == "s"


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_it_ends_when_it_would_have_ended_anyway(
    verifier: TokenVerifier, clock: Clock, looks: Looks, fraction: float
) -> None:
    expires_at = clock() + 100
    token = made(clock, exp=expires_at + fraction)
    verifier.verify(token)
    last_second = expires_at + LEEWAY_SECONDS - (0 if fraction else 1)
    clock.now = last_second + 0.999
    assert verifier.verify(token)
    assert looks.number == 1
    clock.now = last_second + 1
    with pytest.raises(TokenExpired):
        verifier.verify(token)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_clock_that_was_set_back_before_it_began_refuses_it(
    verifier: TokenVerifier, clock: Clock, claim: str
) -> None:
    began_at = clock()
    times: dict[str, Any] = {"iat": began_at - 5, claim: began_at}
    token = made(clock, **times)
    verifier.verify(token)
    clock.now = began_at - LEEWAY_SECONDS
    assert verifier.verify(token)
    clock.now -= 1
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_a_key_that_the_tenant_removed_takes_its_tokens_with_it(
    verifier: TokenVerifier, keys: KeySetCache, tenant: Tenant, clock: Clock
) -> None:
    token = made(clock)
    verifier.verify(token)
    tenant.publish("b", "c")
    keys.key("c")  # somebody else's token brings the new set
    with pytest.raises(InvalidToken):
        verifier.verify(token)


def test_a_removed_key_is_noticed_when_the_set_s_time_is_over(
    verifier: TokenVerifier, tenant: Tenant, clock: Clock
) -> None:
    token = made(clock)
    verifier.verify(token)
    tenant.publish("b")
    clock.now += TTL_SECONDS - 1
    assert verifier.verify(token)
    clock.now += 1
    with pytest.raises(InvalidToken):
        verifier.verify(token)
    assert tenant.fetches == 2


def test_another_key_under_the_same_name_does_not_vouch_for_the_old_one_s_tokens(
    verifier: TokenVerifier, tenant: Tenant, clock: Clock
) -> None:
    token = made(clock)
    verifier.verify(token)
    tenant.document = {"keys": [public_jwk("b") | {"kid": "a"}]}
    clock.now += TTL_SECONDS
    with pytest.raises(InvalidToken):
        verifier.verify(token)
    assert verifier.verify(made(clock, key=rsa_key("b"))).subject == "s"


def test_the_same_key_fetched_anew_vouches_for_them_once_it_has_checked_them(
    verifier: TokenVerifier, clock: Clock, looks: Looks
) -> None:
    token = made(clock)
    verifier.verify(token)
    clock.now += TTL_SECONDS
    verifier.verify(token)
    verifier.verify(token)
    assert looks.number == 2


def test_in_an_outage_it_holds_as_long_as_the_old_keys_do(
    verifier: TokenVerifier, tenant: Tenant, clock: Clock, looks: Looks
) -> None:
    token = made(clock, exp=clock() + 3 * STALE_LIMIT_SECONDS)
    verifier.verify(token)
    tenant.is_down = True
    clock.now += STALE_LIMIT_SECONDS
    assert verifier.verify(token)
    assert looks.number == 1
    clock.now += 1
    with pytest.raises(Unavailable):
        verifier.verify(token)


def test_steady_use_fetches_no_keys(verifier: TokenVerifier, tenant: Tenant, clock: Clock) -> None:
    token = made(clock)
    for _ in range(100):
        verifier.verify(token)
        clock.now += TTL_SECONDS / 101
    assert tenant.fetches == 1


def test_what_one_audience_is_told_is_nothing_to_another(
    verifier: TokenVerifier, keys: KeySetCache, clock: Clock
) -> None:
    of_id_tokens = TokenVerifier(keys.key, issuer=ISSUER, audience="client", clock=clock)
    access, identity = made(clock), made(clock, aud="client")
    assert verifier.verify(access)
    assert of_id_tokens.verify(identity)
    for other, token in ((of_id_tokens, access), (verifier, identity)):
        with pytest.raises(InvalidToken):
            other.verify(token)


def test_another_issuer_s_verifier_shares_nothing(verifier: TokenVerifier, keys: KeySetCache, clock: Clock) -> None:
    token = made(clock)
    verifier.verify(token)
    with pytest.raises(InvalidToken):
        TokenVerifier(keys.key, issuer="https://other.example/", audience="api", clock=clock).verify(token)


def test_a_flood_of_made_up_tokens_pushes_nothing_out(
    keys: KeySetCache, clock: Clock, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 2)
    verifier = TokenVerifier(keys.key, issuer=ISSUER, audience="api", clock=clock)
    token = made(clock)
    verifier.verify(token)
    before = looks.number
    header, payload, signature = token.split(".")
    for number in range(10):
        with pytest.raises(InvalidToken):
            verifier.verify(f"{header}.{payload}.{number:04}{signature[4:]}")
    assert looks.number == before + 10
    verifier.verify(token)
    assert looks.number == before + 10


def test_of_more_good_tokens_than_there_is_room_for_those_in_use_stay(
    keys: KeySetCache, clock: Clock, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MAX_REMEMBERED", 3)
    verifier = TokenVerifier(keys.key, issuer=ISSUER, audience="api", clock=clock)
    in_use, once = made(clock), made(clock, jti="once")
    for token in (in_use, once, *(made(clock, jti=str(number)) for number in range(5))):
        verifier.verify(token)
        verifier.verify(in_use)
    before = looks.number
    verifier.verify(in_use)
    assert looks.number == before
    verifier.verify(once)
    assert looks.number == before + 1


def test_the_token_itself_is_nowhere_in_what_is_remembered(verifier: TokenVerifier, clock: Clock) -> None:
    token = made(clock)
    verifier.verify(token)
    remembered = repr([*verifier._verified._entries.items()])
    assert not any(part in remembered for part in token.split("."))
