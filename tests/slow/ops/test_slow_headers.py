"""A tenant that sends its headers byte by byte: each byte comes in time, the answer never does."""

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.support.processes.service import ServiceProcess
from tests.support.processes.tenant import TenantProcess
from tests.support.waiting import ME

BYTE_EVERY_SECONDS = 0.5


@pytest.fixture
def dripping_issuer() -> Iterator[str]:
    """The issuer URL of such a tenant."""
    is_over = Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            for byte in b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 1_000:
                if is_over.wait(BYTE_EVERY_SECONDS):
                    return
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    def serve(listener: socket.socket) -> None:
        while not is_over.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.submit(drip, connection)

    with ThreadPoolExecutor() as threads, socket.create_server(("127.0.0.1", 0)) as listener:
        threads.submit(serve, listener)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            is_over.set()
            listener.shutdown(socket.SHUT_RDWR)


def test_headers_that_never_end_are_given_up_on(
    dripping_issuer: str, database_url_factory: Callable[[], str], tenant: TenantProcess
) -> None:
    environment = {"DATABASE_URL": database_url_factory(), **tenant.env(), "AUTH0_ISSUER": dripping_issuer}
    with ServiceProcess(environment, workers=1) as service:
        # Both wait for the same keys: the one who asks for them, and the one who stands in line behind.
        headers = {"Authorization": f"Bearer {tenant.token(sub='auth0|anybody')}"}
        with ThreadPoolExecutor() as threads:
            asked = [threads.submit(service.request, "GET", ME, headers=headers) for _ in range(2)]
            answers = [answer.result() for answer in asked]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert service.request("GET", "/health").text == "ok"
        assert "Traceback" not in service.log()
