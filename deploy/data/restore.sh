#!/usr/bin/env bash
# restore.sh DUMP: loads a dump of backup.sh into the database of DATABASE_URL, which must be empty; all or nothing.
#
# The database must be there, and have the extensions or a role that may create them:
#   createdb --owner gearyard gearyard && psql gearyard -c 'CREATE EXTENSION postgis'   (as a superuser)
set -euo pipefail

readonly DUMP=${1:?usage: restore.sh DUMP}
source "$(dirname "${BASH_SOURCE[0]}")/connection.sh"

tables=$(query "$CONNECTION" --command \
    "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'spatial_ref_sys'")
if [[ $tables != 0 ]]; then
    echo "restore.sh: the database has $tables tables already; restore into an empty one" >&2
    exit 1
fi

# PostGIS's own table came with the extension, and is not this role's to fill.
contents=$(mktemp)
trap 'rm -f "$contents"' EXIT
pg_restore --list "$DUMP" | grep --invert-match 'TABLE DATA public spatial_ref_sys ' >"$contents"
# A comment on an extension is its owner's to make, and an extension that is there already is not made again.
pg_restore --use-list "$contents" --dbname "$CONNECTION" --single-transaction --exit-on-error \
    --no-owner --no-privileges --no-comments "$DUMP"
# Without statistics, the first searches would be planned as for empty tables. Of the catalogues, which are not this
# role's, it would warn one by one.
query "$CONNECTION" --command 'SET client_min_messages = error' --command 'ANALYZE'
