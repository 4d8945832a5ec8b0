"""Loopback ports for servers that tests start."""

import atexit
import socket


def reserve_port() -> int:
    """A loopback port that no other test process is given while this one lives.

    The port stays bound by a socket that does not listen, so the kernel gives it to no other caller. A server that sets
    SO_REUSEADDR, as all of ours do, can listen on it (socket(7)).
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    atexit.register(held.close)
    port: int = held.getsockname()[1]
    return port
