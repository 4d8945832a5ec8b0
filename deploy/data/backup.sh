#!/usr/bin/env bash
# backup.sh DIRECTORY: dumps the database of DATABASE_URL into DIRECTORY/gearyard-TIME.dump, whole or not at all.
#
# Keeps the newest KEEP dumps (14). PG_BINDIR names the directory of pg_dump where PATH has none, or an older one than
# the server. Restore with restore.sh; prove that it can be restored with drill.sh.
set -euo pipefail
umask 077

readonly DIRECTORY=${1:?usage: backup.sh DIRECTORY}
readonly KEEP=${KEEP:-14}
[[ $KEEP =~ ^[1-9][0-9]*$ ]] || { echo "backup.sh: KEEP must be a number from 1" >&2; exit 2; }
source "$(dirname "${BASH_SOURCE[0]}")/connection.sh"

mkdir -p "$DIRECTORY"
dump=$DIRECTORY/gearyard-$(date --utc +%Y%m%dT%H%M%S.%NZ).dump
trap 'rm -f "$dump.part"' EXIT

pg_dump --dbname "$CONNECTION" --format=custom --no-owner --no-privileges --lock-wait-timeout=10s --file "$dump.part"
pg_restore --list "$dump.part" >/dev/null
sync "$dump.part"
mv "$dump.part" "$dump"

# Names sort by time.
find "$DIRECTORY" -maxdepth 1 -name 'gearyard-*.dump' | sort --reverse | tail --lines=+$((KEEP + 1)) |
    xargs --no-run-if-empty rm --
printf '%s\n' "$dump"
