"""Rows into a table by COPY in its text format (PostgreSQL, "COPY", File Formats): the fastest way in there is."""

import struct
from collections.abc import Iterable, Iterator
from typing import Any

READ_BYTES = 65_536
_EWKB_POINT_WITH_SRID = struct.Struct("<BIIdd")
_LITTLE_ENDIAN, _POINT, _HAS_SRID, _WGS_84 = 1, 1, 0x20000000, 4326


def copy_rows(connection: Any, table: str, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> int:
    """Append the rows, made while the server stores the ones before them; returns how many.

    `connection` is psycopg2's, without a wait callback. What making a row raises is raised, nothing in its place.
    """
    stream = _Stream(rows)
    try:
        with connection.cursor() as cursor:
            cursor.copy_expert(f"COPY {table} ({', '.join(columns)}) FROM STDIN", stream, READ_BYTES)
            return int(cursor.rowcount)
    except Exception:
        # psycopg2 tells the server of it, and then raises only the server's reply.
        if stream.failure is not None:
            raise stream.failure from None
        raise


def point(longitude: float, latitude: float) -> str:
    """A point of WGS 84 as PostGIS reads it fastest: EWKB in hexadecimal digits."""
    return _EWKB_POINT_WITH_SRID.pack(_LITTLE_ENDIAN, _POINT | _HAS_SRID, _WGS_84, longitude, latitude).hex()


class _Stream:
    """The rows as the file that psycopg2 reads from; each read gives about as much as it asks for."""

    def __init__(self, rows: Iterable[tuple[object, ...]]) -> None:
        self.failure: BaseException | None = None
        self._lines = _lines(rows)
        self._rest = b""

    def read(self, size: int) -> bytes:
        try:
            return self._next(size)
        except BaseException as failure:
            self.failure = failure
            raise

    def _next(self, size: int) -> bytes:
        parts, length = [self._rest], len(self._rest)
        while length < size and (line := next(self._lines, b"")):
            parts.append(line)
            length += len(line)
        text = b"".join(parts)
        self._rest = text[size:]
        return text[:size]


def _lines(rows: Iterable[tuple[object, ...]]) -> Iterator[bytes]:
    for row in rows:
        yield ("\t".join(map(_field, row)) + "\n").encode()


def _field(value: object) -> str:
    if value is None:
        return r"\N"
    if not isinstance(value, str):
        return str(value)
    # Faster than str.translate where there is nothing to escape, which is nearly always.
    return value.replace("\\", r"\\").replace("\t", r"\t").replace("\n", r"\n").replace("\r", r"\r")
