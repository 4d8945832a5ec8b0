"""``python -m deploy.local.tenant``: run the tenant, or add users to its state."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import os  # noqa: E402
import secrets  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Sequence  # noqa: E402
from pathlib import Path  # noqa: E402

# Until the server takes the signals over, being told to stop is no error either.
for _number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(_number, lambda *_: os._exit(0))

from .accounts import check_email  # noqa: E402
from .config import Config, ConfigError, loopback, origin_of  # noqa: E402
from .context import Tenant  # noqa: E402
from .faults import FaultyApplication  # noqa: E402
from .files import StateError, open_state, read_or_create  # noqa: E402
from .params import BadParameters  # noqa: E402
from .passwords import POLICY, hash_password, is_strong  # noqa: E402
from .serving import listen, serve  # noqa: E402
from .store import Store  # noqa: E402
from .web import create_app  # noqa: E402

COOKIE_KEY_BYTES = 32


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 after a clean stop, 1 with one line on stderr if it could not start."""
    os.umask(0o077)
    options = _parser().parse_args(arguments)
    try:
        state = open_state(options.state)
        if options.add_user:
            _add_users(state, options.add_user, os.environ.get("TENANT_USER_PASSWORD", ""))
        else:
            _run(state, loopback(options.host), options.port, quiet=options.quiet)
    except (ConfigError, StateError) as error:
        print(f"tenant: {error}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.tenant", description="An Auth0-compatible tenant.")
    parser.add_argument("--state", type=Path, required=True, help="directory for users, refresh tokens and keys")
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (127.0.0.1)")
    parser.add_argument("--port", type=_port, default=8081, help="0 picks a free one (8081)")
    parser.add_argument("--quiet", action="store_true", help="no log line for each request")
    help_text = "create or update a verified user with the password in TENANT_USER_PASSWORD, then exit; repeatable"
    parser.add_argument("--add-user", metavar="EMAIL", action="append", help=help_text)
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


def _run(state: Path, host: str, port: int, *, quiet: bool) -> None:
    Config.from_env(os.environ, issuer="")  # complain of a setting before taking the port
    listener = listen(host, port)
    config = Config.from_env(os.environ, issuer=origin_of(host, listener.getsockname()[1]) + "/")
    cookie_key = read_or_create(state / "cookie.key", lambda: secrets.token_bytes(COOKIE_KEY_BYTES))
    tenant = Tenant.open(config, state, cookie_key)
    application = FaultyApplication(create_app(tenant, cookie_key), tenant.faults)
    serve(listener, application, config.issuer, quiet=quiet)
    tenant.store.close()


def _add_users(state: Path, emails: Sequence[str], password: str) -> None:
    if not is_strong(password):
        raise ConfigError(f"TENANT_USER_PASSWORD is missing or too weak: {' '.join(POLICY.split())}")
    store = Store(state / "tenant.sqlite3")
    for email in emails:
        try:
            check_email(email)
        except BadParameters:
            raise ConfigError(f"--add-user {email!r} is not an e-mail address") from None
        store.put_verified_user(email, hash_password(password))
    store.close()


if __name__ == "__main__":
    sys.exit(main())
