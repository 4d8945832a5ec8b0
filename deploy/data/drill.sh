#!/usr/bin/env bash
# drill.sh: proves that the database of DATABASE_URL can be restored: dumps it, restores the dump into a new database on
# the same server, and compares the rows of every table, the schema's revision and the answer of a search.
#
# Its role must be allowed to create databases, and the extensions of this one. What it made is removed at its end. Run
# it while nobody writes: rows that come after the dump are a difference.
set -euo pipefail
umask 077

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly HERE
source "$HERE/connection.sh"
readonly NAME=gearyard_drill_$$
# The database's name is the URL's path.
TARGET=$(sed -E "s#^(postgresql://[^/]*)/[^?]*#\1/$NAME#" <<<"$CONNECTION")
readonly TARGET
SCRATCH=$(mktemp --directory)
readonly SCRATCH

undo() {
    query "$CONNECTION" --command "DROP DATABASE IF EXISTS $NAME" || true
    rm -rf "$SCRATCH"
}
trap undo EXIT

# What must be equal: a line for each table with its number of rows, and the nearest listings to a place.
facts() {
    query "$1" <<'SQL'
SELECT format('%s %s', tablename,
              (xpath('/row/count/text()', query_to_xml(format('SELECT count(*) FROM public.%I', tablename), false, true, '')))[1])
FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys' ORDER BY tablename;
SELECT 'revision ' || version_num FROM alembic_version;
SELECT format('%s %s km', id, round((ST_Distance(coordinates, 'POINT(7.4474 46.948)'::geography) / 1000)::numeric, 3))
FROM equipment WHERE search @@ websearch_to_tsquery('gearyard_english', 'drill OR kayak OR tent') AND coordinates IS NOT NULL
ORDER BY coordinates <-> 'POINT(7.4474 46.948)'::geography, id LIMIT 20;
SQL
}

facts "$CONNECTION" >"$SCRATCH/before"
dump=$(KEEP=1 "$HERE/backup.sh" "$SCRATCH")
query "$CONNECTION" --command "CREATE DATABASE $NAME TEMPLATE template0"
DATABASE_URL=$TARGET "$HERE/restore.sh" "$dump"
facts "$TARGET" >"$SCRATCH/after"
if ! diff --unified "$SCRATCH/before" "$SCRATCH/after"; then
    echo 'drill.sh: what was restored DIFFERS from what was backed up' >&2
    exit 1
fi
printf 'The restored database equals the one that was backed up: %s bytes, and\n' "$(stat --format %s "$dump")"
sed 's/^/  /' "$SCRATCH/before"
