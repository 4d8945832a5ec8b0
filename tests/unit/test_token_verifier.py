"""The cache of verified tokens, with a fake clock: a cached result ends with the token's time and with its key."""

from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from app.auth.key_set import STALE_LIMIT_SECONDS, KeySetCache
from app.auth.tokens import LEEWAY_SECONDS, TokenVerifier
from app.errors import InvalidToken, TokenExpired, Unavailable
from tests.support.fakes import Clock, FakeIdentityProvider, public_jwk, rsa_key
from tests.unit.conftest import TTL_SECONDS

LIFETIME_SECONDS = 86_400
ISSUER = "https://tenant.example/"


class SignatureChecks:
    def __init__(self, check: Callable[..., object]) -> None:
        self._check = check
        self.number = 0

    def __call__(self, *args: Any, **options: Any) -> object:
        self.number += 1
        return self._check(*args, **options)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> SignatureChecks:
    counting = SignatureChecks(jws.deserialize_compact)
    monkeypatch.setattr(jws, "deserialize_compact", counting)
    return counting


@pytest.fixture
def verifier(keys: KeySetCache, clock: Clock) -> TokenVerifier:
    return TokenVerifier(keys.key, issuer=ISSUER, audience="api", clock=clock)


def made(clock: Clock, *, kid: str = "a", key: RSAKey | None = None, **changes: Any) -> str:
    now = int(clock())
    claims = {"iss": ISSUER, "aud": "api", "sub": "s", "iat": now, "exp": now + LIFETIME_SECONDS} | changes
    return jwt.encode({"alg": "RS256", "kid": kid}, claims, key or rsa_key(kid))


def test_a_valid_token_is_checked_once_and_a_forged_one_each_time(
    verifier: TokenVerifier, clock: Clock, checks: SignatureChecks
) -> None:
    token, forged = made(clock), made(clock, key=rsa_key("b"))
    first = verifier.verify(token)
    assert [verifier.verify(token) for _ in range(10)] == [first] * 10
    assert checks.number == 1
    for _ in range(3):
        with pytest.raises(InvalidToken):
            verifier.verify(forged)
    assert checks.number == 1 + 3


@pytest.mark.parametrize("fraction", [0, 0.5])
def test_a_cached_token_expires(
    verifier: TokenVerifier, clock: Clock, checks: SignatureChecks, fraction: float
) -> None:
    expires_at = clock() + 100
    token = made(clock, exp=expires_at + fraction)
    verifier.verify(token)
    last_second = expires_at + LEEWAY_SECONDS - (0 if fraction else 1)
    clock.now = last_second + 0.999
    assert verifier.verify(token)
    assert checks.number == 1
    clock.now = last_second + 1
    with pytest.raises(TokenExpired):
        verifier.verify(token)


@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_a_cached_token_is_refused_when_the_clock_is_set_back_before_its_start(
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


def test_a_removed_key_is_noticed_when_the_key_set_expires_and_not_fetched_for_before(
    verifier: TokenVerifier, fake_identity_provider: FakeIdentityProvider, clock: Clock
) -> None:
    token, fetched_at = made(clock), clock()
    verifier.verify(token)
    fake_identity_provider.publish("b")
    for second in range(0, TTL_SECONDS, 60):
        clock.now = fetched_at + second
        assert verifier.verify(token)
    clock.now = fetched_at + TTL_SECONDS - 1
    assert verifier.verify(token)
    assert fake_identity_provider.fetches == 1
    clock.now += 1
    with pytest.raises(InvalidToken):
        verifier.verify(token)
    assert fake_identity_provider.fetches == 2


def test_another_key_of_the_same_kid_does_not_validate_cached_tokens(
    verifier: TokenVerifier, fake_identity_provider: FakeIdentityProvider, clock: Clock
) -> None:
    token = made(clock)
    verifier.verify(token)
    fake_identity_provider.document = {"keys": [public_jwk("b") | {"kid": "a"}]}
    clock.now += TTL_SECONDS
    with pytest.raises(InvalidToken):
        verifier.verify(token)
    assert verifier.verify(made(clock, key=rsa_key("b"))).subject == "s"


def test_in_an_outage_a_cached_token_is_valid_up_to_the_stale_limit(
    verifier: TokenVerifier, fake_identity_provider: FakeIdentityProvider, clock: Clock, checks: SignatureChecks
) -> None:
    fetched_at = clock()
    token = made(clock, exp=fetched_at + 3 * STALE_LIMIT_SECONDS)
    verifier.verify(token)
    fake_identity_provider.is_down = True
    for age in (TTL_SECONDS, TTL_SECONDS * 2, STALE_LIMIT_SECONDS - 1, STALE_LIMIT_SECONDS):
        clock.now = fetched_at + age
        assert verifier.verify(token)
    assert checks.number == 1
    clock.now += 1
    with pytest.raises(Unavailable):
        verifier.verify(token)


def test_forged_tokens_evict_no_cached_token(keys: KeySetCache, clock: Clock, checks: SignatureChecks) -> None:
    verifier = TokenVerifier(keys.key, issuer=ISSUER, audience="api", clock=clock, max_cached=2)
    token = made(clock)
    verifier.verify(token)
    header, payload, signature = token.split(".")
    for number in range(10):
        with pytest.raises(InvalidToken):
            verifier.verify(f"{header}.{payload}.{number:04}{signature[4:]}")
    assert checks.number == 1 + 10
    verifier.verify(token)
    assert checks.number == 1 + 10


def test_the_cache_holds_no_part_of_a_token(verifier: TokenVerifier, clock: Clock) -> None:
    token = made(clock)
    verifier.verify(token)
    cached = repr([*verifier._cache.items()])
    assert not any(part in cached for part in token.split("."))
