# Sourced by the scripts beside it. Takes DATABASE_URL apart: CONNECTION is the URL without its password, which goes into
# PGPASSWORD instead, since a command line can be read by every user of the machine.
: "${DATABASE_URL:?DATABASE_URL is not set}"
PATH=${PG_BINDIR:+$PG_BINDIR:}$PATH

if [[ $DATABASE_URL =~ ^postgres(ql)?(\+psycopg2)?://(([^:/@?]*)(:([^/@?]*))?@)?(.*)$ ]]; then
    CONNECTION=postgresql://${BASH_REMATCH[4]:+${BASH_REMATCH[4]}@}${BASH_REMATCH[7]}
    if [[ -n ${BASH_REMATCH[6]} ]]; then
        printf -v PGPASSWORD '%b' "${BASH_REMATCH[6]//%/\\x}"
        export PGPASSWORD
    fi
else
    echo "${0##*/}: DATABASE_URL must be like postgresql://user:password@host:5432/database" >&2
    exit 2
fi

query() { psql --no-psqlrc --tuples-only --no-align --quiet --set ON_ERROR_STOP=1 --dbname "$@"; }
