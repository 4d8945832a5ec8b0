"""The cache of signing keys, with a fake clock: cool-down, rotation, outages and invalid key sets."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from app.auth import key_set
from app.auth.key_set import COOL_DOWN_SECONDS, KeySetCache
from app.errors import InvalidToken, Unavailable
from tests.support.fakes import PATIENCE_SECONDS, Clock, FakeIdentityProvider, public_jwk, rsa_key
from tests.support.waiting import until
from tests.unit.conftest import TTL_SECONDS


@pytest.fixture
def warm(keys: KeySetCache, fake_identity_provider: FakeIdentityProvider) -> KeySetCache:
    """A cache that has just fetched the key set; that fetch is not counted."""
    keys.key("a")
    fake_identity_provider.fetches = 0
    return keys


def test_a_cached_key_is_returned_during_a_slow_refresh(
    warm: KeySetCache, fake_identity_provider: FakeIdentityProvider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "FETCH_WAIT_SECONDS", PATIENCE_SECONDS * 2)
    clock.now += TTL_SECONDS
    fake_identity_provider.answering.clear()
    with ThreadPoolExecutor(2) as pool:
        refreshing = pool.submit(warm.key, "a")
        until(lambda: fake_identity_provider.fetches == 1)
        try:
            assert pool.submit(warm.key, "a").result(PATIENCE_SECONDS / 2)
            assert not refreshing.done()
        finally:
            fake_identity_provider.answering.set()
        assert refreshing.result(PATIENCE_SECONDS)
    assert fake_identity_provider.fetches == 1


def test_each_unknown_kid_of_successive_rotations_refreshes_at_once(
    warm: KeySetCache, fake_identity_provider: FakeIdentityProvider
) -> None:
    for kid in ("c", "d", "e"):
        fake_identity_provider.publish(kid)
        assert warm.key(kid)
    assert fake_identity_provider.fetches == 3


def test_made_up_kids_cause_one_fetch_in_each_cool_down(
    warm: KeySetCache, fake_identity_provider: FakeIdentityProvider, clock: Clock
) -> None:
    for fetches in (1, 2):
        for number in range(50):
            with pytest.raises(InvalidToken):
                warm.key(f"made-up-{number}")
        assert fake_identity_provider.fetches == fetches
        clock.now += COOL_DOWN_SECONDS
    fake_identity_provider.publish("a", "c")
    assert warm.key("c")


INVALID_KEYS: dict[str, Callable[[], Any]] = {
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


@pytest.mark.parametrize("document", [{}, {"keys": None}, {"keys": {"a": 1}}, {"keys": []}], ids=str)
def test_a_document_without_keys_counts_as_a_failed_fetch(
    warm: KeySetCache, fake_identity_provider: FakeIdentityProvider, clock: Clock, document: dict[str, Any]
) -> None:
    fake_identity_provider.document = document
    clock.now += TTL_SECONDS
    assert warm.key("a")
    with pytest.raises(Unavailable):
        warm.key("unknown")


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # of small keys
@pytest.mark.parametrize("invalid", INVALID_KEYS.values(), ids=INVALID_KEYS)
def test_an_invalid_key_is_not_used_and_displaces_no_valid_key(
    keys: KeySetCache, fake_identity_provider: FakeIdentityProvider, clock: Clock, invalid: Callable[[], Any]
) -> None:
    fake_identity_provider.document = {"keys": [invalid(), public_jwk("b")]}
    assert keys.key("b")
    with pytest.raises(InvalidToken):
        keys.key("a")
    fake_identity_provider.document = {"keys": [invalid(), public_jwk("a"), invalid()]}
    clock.now += TTL_SECONDS
    assert modulus_of(keys.key("a")) == modulus_of(rsa_key("a"))


@pytest.mark.parametrize("times", [1, 2])
def test_a_private_key_published_by_mistake_is_kept_as_one_public_key(
    keys: KeySetCache, fake_identity_provider: FakeIdentityProvider, times: int
) -> None:
    fake_identity_provider.document = {"keys": [rsa_key("a").as_dict(private=True)] * times}
    assert not keys.key("a").is_private
    assert modulus_of(keys.key("a")) == modulus_of(rsa_key("a"))


def modulus_of(key: RSAKey) -> Any:
    return key.as_dict(private=False)["n"]
