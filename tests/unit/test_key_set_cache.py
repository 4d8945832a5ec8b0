"""The tenant's signing keys as this service keeps them: how rarely it asks, how long it believes, what it ignores.

Time and the tenant are played here, because hours must pass; `tests/service` shows the same against real ones.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.auth import tokens
from app.auth.tokens import COOL_DOWN_SECONDS, STALE_LIMIT_SECONDS, KeySetCache, TokenVerifier
from app.errors import InvalidToken, Unavailable
from tests.support.fakes import PATIENCE_SECONDS, Clock, Tenant, public_jwk, rsa_key
from tests.support.waiting import until

TTL_SECONDS = 3600
THREADS = 100


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
def warm(keys: KeySetCache, tenant: Tenant) -> KeySetCache:
    """A cache that has fetched the tenant's keys, once, a moment ago."""
    keys.key("a")
    tenant.fetches = 0
    return keys


def all_at_once(pool: ThreadPoolExecutor, tenant: Tenant, keys: KeySetCache) -> list[Future[RSAKey]]:
    """`THREADS` calls that begin together; the tenant answers when all have begun."""
    tenant.answering.clear()
    together = Barrier(THREADS + 1)

    def ask() -> RSAKey:
        together.wait(PATIENCE_SECONDS)
        return keys.key("a")

    waiting = [pool.submit(ask) for _ in range(THREADS)]
    together.wait(PATIENCE_SECONDS)
    tenant.answering.set()
    return waiting


class TestFetching:
    def test_a_known_key_is_never_fetched_again_before_its_time(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        for _ in range(100):
            clock.now += TTL_SECONDS / 101
            assert warm.key("a") is not warm.key("b")
        assert tenant.fetches == 0

    def test_one_fetch_gives_whole_keys_so_that_verifying_needs_no_second(
        self, keys: KeySetCache, tenant: Tenant
    ) -> None:
        # Were only the modulus kept, every check would fetch the set again for the exponent.
        verifier = TokenVerifier(keys.key, issuer="https://i/", audience="api", clock=lambda: 1000)
        claims = {"iss": "https://i/", "aud": "api", "sub": "s", "iat": 1000, "exp": 2000}
        for kid in ("a", "b", "a"):
            token = jwt.encode({"alg": "RS256", "kid": kid}, claims, rsa_key(kid))
            assert verifier.verify(token).subject == "s"
        assert tenant.fetches == 1

    def test_a_hundred_threads_that_need_a_key_at_once_share_one_fetch(self, keys: KeySetCache, tenant: Tenant) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = all_at_once(pool, tenant, keys)
            found = [future.result(PATIENCE_SECONDS) for future in waiting]
        assert len(set(map(id, found))) == 1
        assert tenant.fetches == 1

    def test_a_hundred_threads_share_one_failure_too(self, keys: KeySetCache, tenant: Tenant) -> None:
        tenant.is_down = True
        with ThreadPoolExecutor(THREADS) as pool:
            waiting = all_at_once(pool, tenant, keys)
            errors = [future.exception(PATIENCE_SECONDS) for future in waiting]
        assert {type(error) for error in errors} == {Unavailable}
        assert tenant.fetches == 1

    def test_who_has_an_old_key_does_not_wait_for_a_slow_refresh(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "FETCH_WAIT_SECONDS", PATIENCE_SECONDS * 2)
        clock.now += TTL_SECONDS
        tenant.answering.clear()
        with ThreadPoolExecutor(2) as pool:
            refreshing = pool.submit(warm.key, "a")
            until(lambda: tenant.fetches == 1)
            try:
                assert pool.submit(warm.key, "a").result(PATIENCE_SECONDS / 2)
                assert not refreshing.done()
            finally:
                tenant.answering.set()
            assert refreshing.result(PATIENCE_SECONDS)
        assert tenant.fetches == 1

    def test_who_gave_up_waiting_for_the_first_fetch_is_not_told_that_the_token_is_bad(
        self, keys: KeySetCache, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tokens, "FETCH_WAIT_SECONDS", 0.01)
        tenant.answering.clear()
        with ThreadPoolExecutor(1) as pool:
            fetching = pool.submit(keys.key, "a")
            until(lambda: tenant.fetches == 1)
            try:
                with pytest.raises(Unavailable):
                    keys.key("a")
            finally:
                tenant.answering.set()
            assert fetching.result(PATIENCE_SECONDS)


class TestRotation:
    def test_an_unknown_kid_refreshes_at_once(self, warm: KeySetCache, tenant: Tenant) -> None:
        tenant.publish("b", "c")
        assert warm.key("c")
        assert tenant.fetches == 1

    def test_rotations_in_quick_succession_are_each_followed(self, warm: KeySetCache, tenant: Tenant) -> None:
        for kid in ("c", "d", "e"):
            tenant.publish(kid)
            assert warm.key(kid)
        assert tenant.fetches == 3

    def test_a_removed_key_is_refused_when_its_time_is_over(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        tenant.publish("b")
        clock.now += TTL_SECONDS - 1
        assert warm.key("a")
        clock.now += 1
        with pytest.raises(InvalidToken):
            warm.key("a")
        assert tenant.fetches == 1

    def test_a_removed_key_is_refused_from_any_refresh_on(self, warm: KeySetCache, tenant: Tenant) -> None:
        tenant.publish("c")
        warm.key("c")
        with pytest.raises(InvalidToken):
            warm.key("a")


class TestCoolDown:
    def test_made_up_kids_cause_one_fetch_in_a_cool_down(self, warm: KeySetCache, tenant: Tenant, clock: Clock) -> None:
        for number in range(50):
            with pytest.raises(InvalidToken):
                warm.key(f"made-up-{number}")
        assert tenant.fetches == 1
        clock.now += COOL_DOWN_SECONDS
        for number in range(50):
            with pytest.raises(InvalidToken):
                warm.key(f"made-up-{number}")
        assert tenant.fetches == 2

    def test_made_up_kids_do_not_keep_known_keys_from_being_used(self, warm: KeySetCache, tenant: Tenant) -> None:
        with pytest.raises(InvalidToken):
            warm.key("made-up")
        assert warm.key("a")
        assert tenant.fetches == 1

    def test_a_new_key_is_found_after_the_cool_down_that_a_made_up_kid_started(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        with pytest.raises(InvalidToken):
            warm.key("made-up")
        tenant.publish("a", "c")
        clock.now += COOL_DOWN_SECONDS
        assert warm.key("c")

    def test_a_tenant_that_is_down_is_asked_once_in_a_cool_down(
        self, keys: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        tenant.is_down = True
        for _ in range(50):
            with pytest.raises(Unavailable) as refusal:
                keys.key("a")
            assert refusal.value.retry_after_seconds
        assert tenant.fetches == 1
        tenant.is_down = False
        clock.now += COOL_DOWN_SECONDS
        assert keys.key("a")
        assert tenant.fetches == 2


class TestOutage:
    def test_old_keys_stay_good_up_to_the_limit_and_not_beyond(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        fetched_at, tenant.is_down = clock.now, True
        for age in (TTL_SECONDS, TTL_SECONDS * 2, STALE_LIMIT_SECONDS - 1, STALE_LIMIT_SECONDS):
            clock.now = fetched_at + age
            assert warm.key("a")
        clock.now = fetched_at + STALE_LIMIT_SECONDS + 1
        with pytest.raises(Unavailable):
            warm.key("a")

    def test_an_unknown_key_in_an_outage_is_unavailable_rather_than_wrong(
        self, warm: KeySetCache, tenant: Tenant
    ) -> None:
        tenant.is_down = True
        with pytest.raises(Unavailable):
            warm.key("c")
        assert warm.key("a")

    def test_the_end_of_an_outage_is_noticed_within_a_cool_down(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock
    ) -> None:
        clock.now += TTL_SECONDS
        tenant.is_down = True
        warm.key("a")
        tenant.is_down = False
        tenant.publish("c")
        clock.now += COOL_DOWN_SECONDS
        assert warm.key("c")
        with pytest.raises(InvalidToken):
            warm.key("a")


ODD_KEYS: dict[str, Callable[[], Any]] = {
    "null": lambda: None,
    "a number": lambda: 7,
    "text": lambda: "key",
    "a list": list,
    "an empty object": dict,
    "no kid": lambda: public_jwk("a", kid=None),
    "a kid that is a number": lambda: public_jwk("a", kid=7),
    "no modulus": lambda: public_jwk("a", n=None),
    "an empty modulus": lambda: public_jwk("a", n=""),
    "a modulus that is not base64": lambda: public_jwk("a", n="***"),
    "a modulus that is not ASCII": lambda: public_jwk("a", n="ключ"),
    "an exponent of one": lambda: public_jwk("a", e="AQ"),
    "an even exponent": lambda: public_jwk("a", e="Ag"),
    "for encryption": lambda: public_jwk("a", use="enc"),
    "for another algorithm": lambda: public_jwk("a", alg="RS512"),
    "too small": lambda: rsa_key("small", 1024).as_dict(private=False) | {"kid": "a"},
    "elliptic": lambda: ECKey.generate_key("P-256", {"kid": "a"}, private=False).as_dict(),
    "symmetric": lambda: OctKey.generate_key(256, {"kid": "a"}).as_dict(),
}
ODD_DOCUMENTS: dict[str, Any] = {
    "empty": {},
    "null": {"keys": None},
    "text": {"keys": "no"},
    "an object": {"keys": {"a": 1}},
    "no keys": {"keys": []},
}


# joserfc warns of small keys when it reads one; what matters here is that none is used.
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
class TestOddKeySets:
    @pytest.mark.parametrize("document", ODD_DOCUMENTS.values(), ids=ODD_DOCUMENTS)
    def test_a_document_without_keys_counts_as_no_answer(
        self, warm: KeySetCache, tenant: Tenant, clock: Clock, document: dict[str, Any]
    ) -> None:
        tenant.document = document
        clock.now += TTL_SECONDS
        assert warm.key("a")
        with pytest.raises(Unavailable):
            warm.key("unknown")
        assert tenant.fetches == 1

    @pytest.mark.parametrize("odd", ODD_KEYS.values(), ids=ODD_KEYS)
    def test_an_odd_key_is_never_used_and_the_good_ones_beside_it_are(
        self, keys: KeySetCache, tenant: Tenant, odd: Callable[[], Any]
    ) -> None:
        tenant.document = {"keys": [odd(), public_jwk("b")]}
        assert keys.key("b")
        with pytest.raises(InvalidToken):
            keys.key("a")

    @pytest.mark.parametrize("odd", ODD_KEYS.values(), ids=ODD_KEYS)
    def test_an_odd_key_does_not_displace_a_good_one_of_its_name(
        self, keys: KeySetCache, tenant: Tenant, odd: Callable[[], Any]
    ) -> None:
        tenant.document = {"keys": [odd(), public_jwk("a"), odd()]}
        assert modulus_of(keys.key("a")) == modulus_of(rsa_key("a"))

    def test_a_key_published_twice_is_one_key(self, keys: KeySetCache, tenant: Tenant) -> None:
        tenant.publish("a", "a")
        assert modulus_of(keys.key("a")) == modulus_of(rsa_key("a"))

    def test_a_private_key_published_by_mistake_is_kept_as_a_public_one(
        self, keys: KeySetCache, tenant: Tenant
    ) -> None:
        tenant.document = {"keys": [rsa_key("a").as_dict(private=True)]}
        assert not keys.key("a").is_private


def modulus_of(key: RSAKey) -> Any:
    return key.as_dict(private=False)["n"]
