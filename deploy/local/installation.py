"""Which PostgreSQL this machine has, and which of its users may run it."""

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from deploy.local.processes import ROOT, Account, LocalError

DEBIAN_BINARIES = Path("/usr/lib/postgresql")
DEBIAN_SHARE = Path("/usr/share/postgresql")
PACKAGE_ACCOUNT = "postgres"


@dataclass(frozen=True)
class Installation:
    """One major version of PostgreSQL that has PostGIS."""

    major: str
    bindir: Path

    def program(self, name: str) -> Path:
        """The path of one of its programs."""
        return self.bindir / name


def installations() -> list[Installation]:
    """Every PostgreSQL with PostGIS, newest first: Debian's layout, else the one that `pg_config` describes."""
    found = [
        Installation(bindir.parent.name, bindir)
        for bindir in DEBIAN_BINARIES.glob("*/bin")
        if _is_complete(bindir, DEBIAN_SHARE / bindir.parent.name)
    ]
    return sorted(found, key=lambda one: int(one.major), reverse=True) or _described_by_pg_config()


def installation_for(data: Path) -> Installation:
    """The installation that can run this data directory; the newest where there is no data yet.

    Raises:
        LocalError: when there is none, or none of the major version that made the data.

    """
    found = installations()
    if not found:
        raise LocalError("PostgreSQL with PostGIS is not installed: run `deploy/local/bootstrap.sh run` to install it.")
    version = data / "PG_VERSION"
    if not version.exists():
        return found[0]
    major = version.read_text().strip()
    for installation in found:
        if installation.major == major:
            return installation
    raise LocalError(
        f"{data} was made by PostgreSQL {major}, but this machine has {', '.join(one.major for one in found)}. "
        f"Install postgresql-{major}-postgis-3, or remove {data.parent} to start with an empty database."
    )


def account_for(data: Path) -> Account:
    """The user that runs the server: this one, or, because PostgreSQL refuses root, one that root can become.

    Root becomes the owner of the data, else the owner of the checkout, else the PostgreSQL package's own user.

    Raises:
        LocalError: when the data belongs to somebody else, or there is no user to become.

    """
    owner = data.stat().st_uid if data.exists() else None
    if os.geteuid() != 0:
        if owner not in {None, os.geteuid()}:
            raise LocalError(
                f"{data} belongs to user id {owner}: it was made under another user, perhaps root. "
                f"Run as that user, or remove {data.parent} with its rights."
            )
        return Account(os.geteuid(), os.getegid())
    for uid in (owner, ROOT.stat().st_uid):
        if uid and (entry := _user(uid)):
            return Account(entry.pw_uid, entry.pw_gid)
    try:
        entry = pwd.getpwnam(PACKAGE_ACCOUNT)
    except KeyError:
        raise LocalError(
            f"PostgreSQL refuses to run as root, and this machine has no user {PACKAGE_ACCOUNT!r} to run it as: "
            f"create it with `useradd --system {PACKAGE_ACCOUNT}`, or run this as another user."
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def _user(uid: int) -> pwd.struct_passwd | None:
    """The account of this number; a container often lacks one for the owner of a mounted checkout."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _is_complete(bindir: Path, share: Path) -> bool:
    return (bindir / "initdb").exists() and (share / "extension" / "postgis.control").exists()


def _described_by_pg_config() -> list[Installation]:
    program = shutil.which("pg_config")
    if program is None:
        return []
    answer = subprocess.run(  # noqa: S603 - a program found on PATH, fixed arguments
        [program, "--bindir", "--sharedir", "--version"], capture_output=True, text=True, timeout=10, check=False
    )
    if answer.returncode != 0:
        return []
    bindir, share, version = answer.stdout.splitlines()
    major = "".join(c if c.isdigit() else " " for c in version).split()[0]
    return [Installation(major, Path(bindir))] if _is_complete(Path(bindir), Path(share)) else []
