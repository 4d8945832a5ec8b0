"""People who are known to the service, with tokens, and conversations between two of them.

Their identifiers are plain numbers, so that pgbench can make them too.
"""

from dataclasses import dataclass
from uuid import UUID

from deploy.local.cluster import PostgresCluster
from tests.support.processes.tenant import TenantProcess

_ADD_PEOPLE = """
INSERT INTO users (id, email, email_verified, username, full_name)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'person-' || n || '@gearyard.example', true, 'person-' || n, 'Person ' || n
FROM generate_series(1, {people}) n
ON CONFLICT DO NOTHING;
DELETE FROM identities WHERE subject LIKE 'auth0|person-%';
INSERT INTO identities (issuer, subject, user_id)
SELECT '{issuer}', 'auth0|person-' || n, lpad(to_hex(n), 32, '0')::uuid FROM generate_series(1, {people}) n;
ANALYZE users, identities"""

# The statistics too must be those of an empty table, for each run to begin as the first one did.
_BEGIN_CONVERSATIONS = """
TRUNCATE messages, conversation_participants, conversations;
INSERT INTO conversations (id, participant_key)
SELECT lpad(to_hex(n), 32, '0')::uuid, 'conversation ' || n FROM generate_series(1, {conversations}) n;
INSERT INTO conversation_participants (conversation_id, user_id)
SELECT lpad(to_hex(n), 32, '0')::uuid, lpad(to_hex(person), 32, '0')::uuid
FROM generate_series(1, {conversations}) n CROSS JOIN LATERAL (VALUES (2 * n - 1), (2 * n)) both_of (person);
ANALYZE messages, conversations, conversation_participants"""


@dataclass(frozen=True)
class Person:
    """Person `number`, from 1."""

    number: int
    token: str

    @property
    def id(self) -> UUID:
        return UUID(int=self.number)

    @property
    def conversation_id(self) -> UUID:
        """The conversation with the other one of the pair: of 1 and 2, of 3 and 4, and so on."""
        return UUID(int=(self.number + 1) // 2)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def add_people(cluster: PostgresCluster, database: str, tenant: TenantProcess, number: int) -> list[Person]:
    cluster.psql(_ADD_PEOPLE.format(people=number, issuer=tenant.issuer), database)
    return [Person(one, tenant.token(sub=f"auth0|person-{one}")) for one in range(1, number + 1)]


def begin_conversations(cluster: PostgresCluster, database: str, people: int) -> int:
    """A conversation, with nothing said in it yet, of each two of so many people; how many these are."""
    cluster.psql(_BEGIN_CONVERSATIONS.format(conversations=people // 2), database)
    return people // 2
