"""First uses of tokens and the key set over several workers: one user each, and few requests to the tenant."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.support.databases import scalar
from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import all_at_once, key_fetches, side_by_side, statuses, until

WORKERS = 2


@pytest.fixture(scope="module")
def tenant() -> Iterator[TenantProcess]:
    """A tenant of this module's own, because its keys are revoked here."""
    with TenantProcess() as running:
        yield running


@pytest.fixture(scope="module")
def services(environment: dict[str, str]) -> Iterator[dict[str, ServiceProcess]]:
    """Services of one and of two workers; the cold ones are for one test each, as the first token warms them."""
    forgetful = environment | {"JWKS_CACHE_TTL_SECONDS": "1"}
    with side_by_side(
        {
            "pair": ServiceProcess(environment, workers=WORKERS),
            "lone": ServiceProcess(environment, workers=1),
            "cold pair": ServiceProcess(environment, workers=WORKERS),
            "cold lone": ServiceProcess(environment, workers=1),
            "forgetful": ServiceProcess(forgetful, workers=1),
        }
    ) as running:
        yield running


@pytest.fixture
def pair(services: dict[str, ServiceProcess]) -> ServiceProcess:
    return services["pair"]


def users_with(database_url: str, email: str) -> int:
    return int(scalar(database_url, "SELECT count(*) FROM users WHERE email = %s", email))


def known_user(service: ServiceProcess, tenant: TenantProcess) -> str:
    """The token of a user who has been here before."""
    token = tenant.token(email=f"{uuid4().hex}@example.com", email_verified=True)
    # After a revocation by another test, each worker first waits for the end of its cool-down.
    until(lambda: statuses(all_at_once(service, [token] * 20)) == {200: 20})
    return token


class TestFirstUse:
    @pytest.mark.parametrize("verified", [True, False], ids=["verified", "unverified"])
    def test_fifty_first_uses_of_one_token_at_once_make_one_user(
        self, pair: ServiceProcess, calm: TenantProcess, database_url: str, verified: bool
    ) -> None:
        known_user(pair, calm)
        email = f"{uuid4().hex}@example.com"
        answers = all_at_once(pair, [calm.token(email=email, email_verified=verified)] * 50)
        assert statuses(answers) == {200: 50}
        assert len({answer.json()["id"] for answer in answers}) == 1
        assert users_with(database_url, email) == 1

    @pytest.mark.parametrize(("verified", "users"), [(True, 1), (False, 5)], ids=["verified", "unverified"])
    def test_subjects_that_share_an_email_become_one_user_only_if_it_is_verified(
        self, pair: ServiceProcess, calm: TenantProcess, database_url: str, verified: bool, users: int
    ) -> None:
        known_user(pair, calm)
        email = f"{uuid4().hex}@example.com"
        tokens = [calm.token(sub=f"idp{n}|{uuid4().hex}", email=email, email_verified=verified) for n in range(5)]
        answers = all_at_once(pair, tokens * 6)
        assert statuses(answers) == {200: 30}
        assert len({answer.json()["id"] for answer in answers}) == users_with(database_url, email) == users
        identities = "SELECT count(*) FROM identities JOIN users ON users.id = user_id WHERE email = %s"
        assert scalar(database_url, identities, email) == 5


class TestKeys:
    @pytest.mark.parametrize(("name", "workers", "requests_each"), [("cold pair", WORKERS, 100), ("cold lone", 1, 20)])
    def test_a_thousand_requests_from_cold_fetch_the_keys_once_in_each_worker(
        self, services: dict[str, ServiceProcess], calm: TenantProcess, name: str, workers: int, requests_each: int
    ) -> None:
        # Not one fetch for each request.
        people = [calm.token(email=f"{uuid4().hex}@example.com") for _ in range(10)]
        answers = all_at_once(services[name], people * requests_each, abreast=100)
        assert statuses(answers) == {200: 10 * requests_each}
        assert 1 <= key_fetches(calm) <= workers

    def test_the_next_key_of_a_planned_rotation_costs_no_fetch(
        self, services: dict[str, ServiceProcess], calm: TenantProcess
    ) -> None:
        lone = services["lone"]
        old = known_user(lone, calm)
        calm.reset()
        calm.control("POST", "keys/rotate", {"mode": "normal"})
        new = calm.token(email=f"{uuid4().hex}@example.com")
        assert statuses(all_at_once(lone, [old, new] * 25)) == {200: 50}
        assert key_fetches(calm) == 0

    @pytest.mark.parametrize(("name", "workers"), [("lone", 1), ("pair", WORKERS)])
    def test_keys_that_were_revoked_cost_each_worker_one_fetch_and_the_old_ones_one_more(
        self, services: dict[str, ServiceProcess], calm: TenantProcess, name: str, workers: int
    ) -> None:
        service = services[name]
        old = known_user(service, calm)
        assert statuses(all_at_once(service, [old] * 50)) == {200: 50}
        calm.control("POST", "keys/rotate", {"mode": "revoke"})
        calm.reset()
        new = calm.token(email=f"{uuid4().hex}@example.com")
        assert statuses(all_at_once(service, [new] * 100)) == {200: 100}
        assert 1 <= key_fetches(calm) <= workers
        # The old key might have come back, so each worker looks for it once in a cool-down.
        assert statuses(all_at_once(service, [old, new] * 50)) == {401: 50, 200: 50}
        assert 2 <= key_fetches(calm) <= 2 * workers

    def test_an_outage_of_the_tenant_fails_nobody_whose_key_is_known(
        self, services: dict[str, ServiceProcess], calm: TenantProcess
    ) -> None:
        forgetful = services["forgetful"]  # its keys are old after a second, so it notices the outage
        token = known_user(forgetful, calm)
        calm.fault("jwks", "down")
        calm.control("DELETE", "counters")
        until(lambda: statuses(all_at_once(forgetful, [token])) == {200: 1} and key_fetches(calm) > 0)
        assert statuses(all_at_once(forgetful, [token] * 200)) == {200: 200}
        assert key_fetches(calm) <= 2
