"""Fixtures that unit tests share."""

import pytest

from app.auth.key_set import KeySetCache
from tests.support.fakes import Clock, FakeIdentityProvider

TTL_SECONDS = 3600


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fake_identity_provider() -> FakeIdentityProvider:
    """Publishes the keys `a` and `b`."""
    return FakeIdentityProvider("a", "b")


@pytest.fixture
def keys(fake_identity_provider: FakeIdentityProvider, clock: Clock) -> KeySetCache:
    return KeySetCache(fake_identity_provider.fetch, ttl_seconds=TTL_SECONDS, clock=clock)
