"""The statements of the service, taken from the service itself, as pgbench scripts.

What a row asks over HTTP is built by the same code that answers it: a script prepares the statement that the service
prepares, and calls it with values that are converted as the service's are. Some are drawn at random instead.
"""

from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import adapt
from psycopg2.extras import register_uuid

from app.common.geo import METRES_PER_KILOMETRE, Point
from app.common.paging import PageRequest
from app.db.prepared import PreparedStatement
from app.equipment.criteria import Filters, Search, Sort, query_shape, query_values
from app.equipment.search import search_statement
from app.messages import repository
from tests.benchmarks.dataset import MICRODEGREES, Box, Words
from tests.benchmarks.pgbench import Script

register_uuid()  # as SQLAlchemy's dialect does for each connection

CONTENT = "Is it free from Friday to Sunday, and could I pick it up on Thursday evening?"
# One that nobody listens to: the service's own workers would otherwise have the reference's work to do.
CHANNEL = "gearyard_benchmark"


def radius_search(box: Box, radius_km: float, words: Words | None = None) -> Script:
    """The first page around a random place in `box`, and, with `words`, of what they ask for."""
    asked: dict[str, Any] = {}
    if words is not None:
        asked = {
            "words": words.q,
            "category_id": words.category_id,
            "min_price": words.min_price,
            "max_price": words.max_price,
            "is_available": True,
        }
    somewhere = Point(longitude=0, latitude=0)  # the script draws a place instead
    filters = Filters(point=somewhere, radius_metres=radius_km * METRES_PER_KILOMETRE, **asked)
    wanted = Search(filters=filters, sort=Sort.DISTANCE, page=PageRequest())
    edges = box.microdegrees()
    return _script(
        search_statement(query_shape(wanted)),
        query_values(wanted),
        drawn={"point": "'SRID=4326;POINT(:longitude :latitude)'"},
        variables={
            "longitude": f"random({edges.west:.0f}, {edges.east:.0f}) / {MICRODEGREES}.0",
            "latitude": f"random({edges.south:.0f}, {edges.north:.0f}) / {MICRODEGREES}.0",
        },
    )


def add_message(conversations: int) -> Script:
    """A message by one of the two in one of so many conversations (see `people`)."""
    return _script(
        repository._ADD_MESSAGE,
        {"content": CONTENT, "channel": CHANNEL},
        drawn={
            "conversation_id": _identifier("conversation"),
            "user_id": _identifier("sender"),
            "client_msg_id": "CAST(:number AS bigint)",
        },
        variables={
            "conversation": f"random(1, {conversations})",
            "sender": "2 * :conversation - random(0, 1)",
            "number": f"random(1, {2**62})",
        },
    )


def _script(
    shape: PreparedStatement, values: Mapping[str, Any], *, drawn: Mapping[str, str], variables: Mapping[str, str]
) -> Script:
    """A shape, and a call of it with these values, but for what is drawn, which are expressions of the variables."""
    given = {name: values[name] for name in shape.types if name not in drawn}
    converted = {
        name: shape.converters[name](value) if name in shape.converters else value for name, value in given.items()
    }
    texts = {**{name: _literal(value) for name, value in converted.items()}, **drawn}
    # One round trip, as in the service (pgbench: a backslash combines statements).
    in_one_round_trip = shape.execute_sql.replace("; ", "\\; ")
    return Script(shape.name, shape.prepare_sql % (), in_one_round_trip % texts, variables)


def _identifier(variable: str) -> str:
    return f"CAST(lpad(to_hex(CAST(:{variable} AS integer)), 32, '0') AS uuid)"


def _literal(value: Any) -> str:
    adapted = adapt(value)
    if hasattr(adapted, "encoding"):
        adapted.encoding = "utf-8"
    text: str = adapted.getquoted().decode()
    return text
