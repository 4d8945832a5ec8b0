"""The statements of the service, taken from the service itself, as pgbench scripts.

What a row asks over HTTP is built by the same code that answers it; its text is then the very one that PostgreSQL gets,
but for the values that are to be drawn at random.
"""

from collections.abc import Mapping
from typing import Any

from psycopg2.extensions import adapt
from psycopg2.extras import register_uuid
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from app.equipment import search
from app.equipment.criteria import Filters, Search, Sort
from app.geo import METRES_PER_KILOMETRE, Point
from app.messages import repository
from app.paging import PageRequest
from tests.benchmarks.dataset import MICRODEGREES, Box, Words
from tests.benchmarks.pgbench import Script

register_uuid()  # as SQLAlchemy's dialect does for each connection

# Where nothing else is: what stands for the values that pgbench draws.
_SOMEWHERE = Point(longitude=123.456789, latitude=-54.321987)
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
    filters = Filters(point=_SOMEWHERE, radius_metres=radius_km * METRES_PER_KILOMETRE, **asked)
    statement = search.statement(Search(filters=filters, sort=Sort.DISTANCE, page=PageRequest()))
    text = _text(statement, {_SOMEWHERE.longitude: "$1", _SOMEWHERE.latitude: "$2"})
    name = "radius_search" if words is None else f"radius_search_{words.category_id.hex}"
    edges = box.microdegrees()
    return Script(
        name,
        f"PREPARE {name} (float8, float8) AS {text}",
        f"EXECUTE {name} (:longitude, :latitude)",
        {
            "longitude": f"random({edges.west:.0f}, {edges.east:.0f}) / {MICRODEGREES}.0",
            "latitude": f"random({edges.south:.0f}, {edges.north:.0f}) / {MICRODEGREES}.0",
        },
    )


def add_message(conversations: int) -> Script:
    """A message by one of the two in one of so many conversations (see `people`)."""
    shape = repository._ADD_MESSAGE
    values = {
        "conversation_id": _identifier("conversation"),
        "user_id": _identifier("sender"),
        "client_msg_id": "CAST(:number AS bigint)",
        "content": _literal(CONTENT),
        "channel": _literal(CHANNEL),
    }
    return Script(
        shape.name,
        shape.preparing % (),
        shape.calling % values,
        {
            "conversation": f"random(1, {conversations})",
            "sender": "2 * :conversation - random(0, 1)",
            "number": f"random(1, {2**62})",
        },
    )


def _identifier(variable: str) -> str:
    return f"CAST(lpad(to_hex(CAST(:{variable} AS integer)), 32, '0') AS uuid)"


def _text(statement: Executable, drawn: Mapping[Any, str]) -> str:
    """The statement's SQL, values and all; those that are drawn give way to these expressions."""
    compiled = statement.compile(dialect=PGDialect_psycopg2())  # type: ignore[attr-defined, no-untyped-call]
    texts = {}
    for name, value in compiled.params.items():
        process = compiled._bind_processors.get(name)
        bound = process(value) if process is not None and value is not None else value
        texts[name] = drawn[value] if isinstance(value, float) and value in drawn else _literal(bound)
    text: str = str(compiled) % texts
    return text


def _literal(value: Any) -> str:
    adapted = adapt(value)
    if hasattr(adapted, "encoding"):
        adapted.encoding = "utf-8"
    text: str = adapted.getquoted().decode()
    return text
