#!/usr/bin/env bash
# Prepares this checkout for one of its commands: `bootstrap.sh run` for the service, `bench` for the benchmarks, `lint`
# for the checks, `test` for the fast tests, `test-slow` for the slow ones.
#
# Installs the system packages that are missing (Debian and Ubuntu), makes .venv and fills it. What is there already is
# left alone, so that a second call takes a moment; what an interrupted call left half-done is made anew. Nothing
# outside the checkout changes but the packages it had to install.
set -euo pipefail
unset CDPATH
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly MODE=${1:-run}
readonly PYTHON=${PYTHON:-python3}
readonly LOGS=.local/log
readonly DPKG_LOCK_SECONDS=300

say() { printf '==> %s\n' "$*"; }

die() {
    printf 'bootstrap: %s\n' "$1" >&2
    shift
    (($# == 0)) || printf '  %s\n' "$@" >&2
    exit 1
}

readonly PROGRESS_SECONDS=10

# Prints the elapsed time every PROGRESS_SECONDS, until it is killed or this script has ended.
show_progress() {
    exec 9>&- # the lock of this preparation
    local waiting
    exec {waiting}<> <(:)
    while kill -0 $$ 2>/dev/null; do
        # A sleep of its own process would outlive this one and hold the caller's pipe open.
        read -r -t $PROGRESS_SECONDS -u "$waiting" || true
        printf '    %s s…\n' "$SECONDS"
    done
}

# logged NAME HINT COMMAND…: runs the command with its output in a log, whose end is shown when it fails.
logged() {
    local log=$LOGS/$1.log hint=$2 progress status=0
    shift 2
    SECONDS=0
    show_progress &
    progress=$!
    "$@" >"$log" 2>&1 || status=$?
    kill "$progress" 2>/dev/null || true
    wait "$progress" 2>/dev/null || true
    if ((status)); then
        tail -n 15 "$log" | sed 's/^/    /' >&2
        die "that failed; above is the end of $log." "$hint"
    fi
}

# --- the interpreter -------------------------------------------------------------------------------------------------

# Sets BASE_PYTHON, the interpreter itself where $PYTHON is a link to it in a virtual environment (perhaps in the very
# .venv that is to be made anew), and PYTHON_VERSION.
check_python() {
    command -v "$PYTHON" >/dev/null || die "there is no '$PYTHON' here; install Python 3.11 or later, or name one:" \
        "PYTHON=/path/to/python3 make $MODE"
    local facts
    facts=$("$PYTHON" -c 'import sys; print(sys.version.split()[0], sys._base_executable)') || die "'$PYTHON' does not run."
    read -r PYTHON_VERSION BASE_PYTHON <<<"$facts"
    readonly PYTHON_VERSION BASE_PYTHON
    local major minor
    IFS=. read -r major minor _ <<<"$PYTHON_VERSION"
    ((major == 3 && minor >= 11)) || die "'$PYTHON' is Python $PYTHON_VERSION, and 3.11 or later is needed." \
        "Name another one: PYTHON=python3.11 make $MODE"
}

# --- system packages -------------------------------------------------------------------------------------------------

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

# Ends with what to install by hand where there is no apt.
need_apt_get() {
    command -v apt-get >/dev/null || die "this machine has no apt-get; install these by hand, then start again:" \
        "for Python, the standard modules venv and ensurepip" \
        "PostgreSQL (server and client) with its PostGIS extension; its pg_config must be on PATH" \
        "for the benchmarks and their test, wrk and PostgreSQL's pgbench" \
        "for the tests, redis-server" \
        "for the slow tests, nginx, prometheus with promtool, and prometheus-blackbox-exporter"
}

# need_apt PACKAGE…: ends with what to do by hand where this script cannot install the packages itself.
need_apt() {
    need_apt_get
    ((EUID == 0)) || command -v sudo >/dev/null || die "packages are missing, and there is no sudo to install them." \
        "As root: apt-get install --no-install-recommends $*"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 apt-get install --yes --no-install-recommends \
        -o DPkg::Lock::Timeout=$DPKG_LOCK_SECONDS "$@" </dev/null
}

apt_update() {
    [[ -z ${APT_IS_FRESH:-} ]] || return 0
    APT_IS_FRESH=1
    say 'Reading the package lists…'
    # One broken third-party source fails the whole update; whether the rest suffices, the installation will tell.
    as_root apt-get update -o DPkg::Lock::Timeout=$DPKG_LOCK_SECONDS >$LOGS/apt-update.log 2>&1 </dev/null || true
}

ensure_venv_module() {
    ! "$BASE_PYTHON" -c 'import ensurepip, venv' 2>/dev/null || return 0
    local real package
    real=$(realpath "$BASE_PYTHON")
    package=$(basename "$real")-venv
    [[ $real == /usr/bin/python3.* ]] || die "$real lacks the standard module venv or ensurepip." \
        "Complete that installation, or name another one: PYTHON=/usr/bin/python3 make $MODE"
    need_apt "$package"
    apt_update
    say "Installing $package (once)…"
    logged apt-python "Repair apt, or install it by hand: apt-get install $package" apt_install "$package"
}

has_postgis() {
    local share
    for share in /usr/share/postgresql/*; do
        [[ ! -e $share/extension/postgis.control || ! -x /usr/lib/postgresql/${share##*/}/bin/initdb ]] || return 0
    done
    command -v pg_config >/dev/null && [[ -e $(pg_config --sharedir)/extension/postgis.control ]] &&
        [[ -x $(pg_config --bindir)/initdb ]]
}

# The PostGIS package for a server that is installed, else for the newest one that apt offers.
postgis_package() {
    command -v apt-cache >/dev/null || return 0
    local offered bindir package
    offered=$(apt-cache search --names-only '^postgresql-[0-9]+-postgis-3$' | cut -d ' ' -f 1 | sort -rV)
    for bindir in /usr/lib/postgresql/*/bin; do
        package=postgresql-$(basename "$(dirname "$bindir")")-postgis-3
        if [[ -x $bindir/initdb ]] && grep -qxF "$package" <<<"$offered"; then
            printf '%s\n' "$package"
            return
        fi
    done
    head -n 1 <<<"$offered"
}

# Installing Debian's server package creates a system cluster "main" and starts it, on port 5432 and at every boot.
# Nobody asked for that one. For the time of this installation, a drop-in keeps the package from creating it, and a
# policy keeps it from starting what an earlier installation may have left; both are gone afterwards, also on failure.
# The parts run as one root process, so that the undoing cannot fail for want of a password.
install_without_cluster() {
    as_root env DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 bash -s -- "$DPKG_LOCK_SECONDS" "$@" <<'SCRIPT'
set -euo pipefail
config=/etc/postgresql-common
drop_in=$config/createcluster.d/gearyard-installing.conf
policy=/usr/sbin/policy-rc.d
undo() {
    rm -f "$drop_in"
    rmdir --ignore-fail-on-non-empty "$config/createcluster.d" "$config" 2>/dev/null || true
    [[ -z ${own_policy:-} ]] || rm -f "$policy"
}
trap undo EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "${drop_in%/*}"
echo 'create_main_cluster = off' >"$drop_in"
if [[ ! -e $policy ]]; then
    own_policy=1
    # 101: "not allowed". Whatever else is installed or upgraded along the way may start as usual.
    printf '#!/bin/sh\ncase "$*" in *postgresql*) exit 101 ;; esac\nexit 0\n' >"$policy"
    chmod 755 "$policy"
fi
apt-get install --yes --no-install-recommends -o "DPkg::Lock::Timeout=$1" "${@:2}" </dev/null
SCRIPT
}

ensure_postgis() {
    ! has_postgis || return 0
    local package
    package=$(postgis_package)
    need_apt "${package:-postgresql-postgis}"
    apt_update
    package=$(postgis_package)
    [[ -n $package ]] || die "apt offers no postgresql-NN-postgis-3 package." \
        "On Ubuntu, enable 'universe'; see $LOGS/apt-update.log for what failed."
    say "Installing PostgreSQL and PostGIS (once; $package)…"
    logged apt-postgresql "Repair apt, or install it by hand: apt-get install $package" install_without_cluster "$package"
    has_postgis || die "$package is installed, yet its files are not where they belong; see $LOGS/apt-postgresql.log."
}

# Tests need a Redis server of their own. The package of its tools holds the server's program, and starts nothing.
ensure_redis() {
    ! command -v redis-server >/dev/null && ! command -v redis-check-rdb >/dev/null || return 0
    need_apt redis-tools
    apt_update
    say 'Installing the tools of Redis (once)…'
    logged apt-redis "Repair apt, or install it by hand: apt-get install redis-tools" apt_install redis-tools
}

# The benchmarks' load. The package starts nothing; pgbench comes with the PostgreSQL server.
ensure_wrk() {
    ! command -v wrk >/dev/null || return 0
    need_apt wrk
    apt_update
    say 'Installing wrk (once)…'
    logged apt-wrk "Repair apt, or install it by hand: apt-get install wrk" apt_install wrk
}

# Tests put a real nginx in front of the service, and let a real Prometheus read its metrics. Of these packages only the
# programs are needed, so they are unpacked and not installed: installing them would start servers.
# ensure_unpacked PACKAGE PROGRAM OPTION: a program of this name on PATH will do; with the option it shows that it runs.
ensure_unpacked() {
    local package=$1 program=.local/$1/$2
    ! command -v "${program##*/}" >/dev/null && [[ ! -x $program ]] || return 0
    need_apt_get
    apt_update
    say "Unpacking $package (once)…"
    rm -rf ".local/$package" ".local/$package.new" && mkdir ".local/$package.new"
    logged "apt-$package" "Repair apt, or install it by hand: apt-get install $package" unpack "$@"
    mv ".local/$package.new" ".local/$package"
}

unpack() (
    cd ".local/$1.new"
    apt-get download "$1"
    dpkg-deb --extract "$1"_*.deb .
    "./$2" "$3"
)

ensure_servers_of_slow_tests() {
    ensure_unpacked nginx usr/sbin/nginx -v
    ensure_unpacked prometheus usr/bin/prometheus --version
    ensure_unpacked prometheus-blackbox-exporter usr/bin/prometheus-blackbox-exporter --version
}

# Tests open the pages in a real browser, and skip that where there is none to be had. Neither package starts anything.
ensure_chromium() {
    ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null || return 0
    command -v apt-get >/dev/null && { ((EUID == 0)) || command -v sudo >/dev/null; } || return 0
    apt_update
    if [[ -z $(apt-cache search --names-only '^chromium-driver$') ]]; then
        say 'apt offers no chromium-driver (Ubuntu has it as a snap only): tests of the pages will be skipped.'
        return 0
    fi
    say 'Installing Chromium (once)…'
    logged apt-chromium "Repair apt, or install it by hand: apt-get install chromium chromium-driver" \
        apt_install chromium chromium-driver
}

# --- the virtual environment -----------------------------------------------------------------------------------------

# What a complete environment depends on; another place counts, because its scripts carry their path.
fingerprint() {
    { printf '%s\n' "$PWD" "$PYTHON_VERSION" && cat "$@"; } | sha256sum | cut -d ' ' -f 1
}

is_stamped() { [[ -x .venv/bin/python && -e .venv/.complete-$1 && $(<".venv/.complete-$1") == "$2" ]]; }

# Made here, by this version of Python, and not in the middle of an installation.
is_sound() {
    [[ ! -e .venv/.installing ]] && grep -qxF "version = $PYTHON_VERSION" .venv/pyvenv.cfg &&
        grep -q -- "-m venv .*$(sed 's/[][\.*^$/]/\\&/g' <<<"$PWD")/\.venv\$" .venv/pyvenv.cfg &&
        .venv/bin/python -m pip --version
} >/dev/null 2>&1

ensure_environment() {
    local run_stamp bench_stamp test_stamp requirements=requirements.txt
    run_stamp=$(fingerprint requirements.txt)
    bench_stamp=$(fingerprint requirements.txt tests/benchmarks/requirements.txt)
    test_stamp=$(fingerprint requirements.txt tests/benchmarks/requirements.txt tests/requirements.txt)
    # Each of these sets holds the one before it.
    if is_stamped test "$test_stamp"; then return 0; fi
    if [[ $MODE == bench || $MODE == run ]] && is_stamped bench "$bench_stamp"; then return 0; fi
    if [[ $MODE == run ]] && is_stamped run "$run_stamp"; then return 0; fi
    case $MODE in
        bench) requirements=tests/benchmarks/requirements.txt ;;
        lint | test*) requirements=tests/requirements.txt ;;
    esac
    ensure_venv_module
    if ! is_sound; then
        say "Making the virtual environment .venv (Python $PYTHON_VERSION)…"
        rm -rf .venv
        logged venv "Check that '$BASE_PYTHON -m venv' works." "$BASE_PYTHON" -m venv "$PWD/.venv"
    fi
    say "Installing the Python packages of $requirements (once)…"
    touch .venv/.installing
    rm -f .venv/.complete-*
    logged pip 'Check the network and the configuration of pip, then start again.' \
        .venv/bin/python -m pip install --disable-pip-version-check --no-input --require-hashes -r "$requirements"
    printf '%s\n' "$run_stamp" >.venv/.complete-run
    [[ $MODE == run ]] || printf '%s\n' "$bench_stamp" >.venv/.complete-bench
    [[ $MODE == run || $MODE == bench ]] || printf '%s\n' "$test_stamp" >.venv/.complete-test
    rm -f .venv/.installing
}

# ---------------------------------------------------------------------------------------------------------------------

[[ $MODE =~ ^(run|bench|lint|test|test-slow)$ ]] || die "unknown mode '$MODE': run, bench, lint, test or test-slow."
if ! mkdir -p $LOGS 2>/dev/null || ! [[ -w . && -w .local && -w $LOGS && (! -e .venv || -w .venv) ]]; then
    die "$PWD/.local or .venv cannot be written; perhaps another user made it (root?)." \
        "Start as that user, or remove .local and .venv with its rights."
fi
exec 9>.local/bootstrap.lock
if ! flock --nonblock 9; then
    say 'Waiting for another preparation of this checkout…'
    flock 9
fi
check_python
if [[ $MODE != run || -z ${DATABASE_URL:-} ]]; then ensure_postgis; fi
if [[ $MODE == bench || $MODE == test-slow ]]; then ensure_wrk; fi
if [[ $MODE == test* ]]; then ensure_redis; fi
if [[ $MODE == test-slow ]]; then
    ensure_servers_of_slow_tests
    ensure_chromium
fi
ensure_environment
