"""The proxy breaks connections as it says, told by what ordinary sockets see at both ends."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.faults.chaos import Chaos, Link, chaos

SHORT = 0.15
"""Nothing comes within so many seconds: enough, since what does come takes about one millisecond."""
PATIENCE = 30
"""Seconds in which all comes that comes at all."""


class Echo(socketserver.ThreadingTCPServer):
    """Says again what it is told, and knows how many it talks to."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), None)  # type: ignore[arg-type]  # it makes no handler objects
        self.open = 0

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self.open += 1
        try:
            while data := request.recv(65_536):
                request.sendall(data)
        except OSError:
            pass
        finally:
            self.open -= 1


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def net() -> Iterator[Chaos]:
    with chaos() as made:
        yield made


@pytest.fixture
def link(net: Chaos, echo: Echo) -> Link:
    return net.link(echo.server_address[1])


def joined(link: Link) -> socket.socket:
    """A connection through the link that has been heard at the other end."""
    made = socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE)
    assert said(made, b"hello") == b"hello"
    return made


def said(connection: socket.socket, text: bytes) -> bytes:
    connection.sendall(text)
    return connection.recv(len(text))


def is_silent(connection: socket.socket) -> bool:
    connection.settimeout(SHORT)
    try:
        return connection.recv(1) is None
    except TimeoutError:
        return True
    finally:
        connection.settimeout(PATIENCE)


def is_reset(connection: socket.socket) -> bool:
    """By a RST, and not by an end in good order."""
    try:
        return connection.recv(1) is None
    except ConnectionResetError:
        return True


def is_refused(link: Link) -> bool:
    """Who connects is not heard."""
    try:
        with socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE) as client:
            return client.recv(1) == b""
    except ConnectionResetError:
        return True


def eventually(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def until(echo: Echo, count: int) -> None:
    """Until it talks to so many."""
    eventually(lambda: echo.open == count)


def test_it_passes_what_it_gets_and_ends_what_has_ended(link: Link, echo: Echo) -> None:
    with joined(link) as client:
        assert link.connections == 1
        assert link.to_server.passed == link.to_client.passed == 5
        many = bytes(range(256)) * 4_000
        threading.Thread(target=client.sendall, args=(many,)).start()
        back = b""
        while len(back) < len(many):
            back += client.recv(65_536)
        assert back == many
    until(echo, 0)


def test_a_blackhole_says_nothing_and_gives_all_when_it_heals(link: Link, echo: Echo) -> None:
    with joined(link) as client:
        link.hold()
        client.sendall(b"one")
        assert is_silent(client)
        with socket.create_connection(("127.0.0.1", link.port), timeout=PATIENCE) as late:
            late.sendall(b"two")
            assert is_silent(late)
            link.heal()
            assert late.recv(3) == b"two"
        assert client.recv(3) == b"one"


def test_a_blackhole_hides_that_somebody_is_gone(link: Link, echo: Echo) -> None:
    with joined(link):
        link.hold()
    time.sleep(SHORT)
    assert echo.open == 1
    link.heal()
    until(echo, 0)


def test_a_blackhole_of_one_direction(link: Link) -> None:
    with joined(link) as client:
        link.hold(to_server=False)
        before = link.to_server.passed
        client.sendall(b"one")
        eventually(lambda: link.to_server.passed == before + 3)
        assert is_silent(client)
        link.heal()
        assert client.recv(3) == b"one"


def test_a_delay_in_each_direction(link: Link) -> None:
    with joined(link) as client:
        link.delay(0.1)
        began = time.monotonic()
        assert said(client, b"one") == b"one"
        assert time.monotonic() - began >= 0.2
        link.heal()
        took = []
        for _ in range(10):
            began = time.monotonic()
            assert said(client, b"two") == b"two"
            took.append(time.monotonic() - began)
        assert min(took) < 0.1, "the one for which nothing else had to be done"


def test_a_limit(link: Link) -> None:
    with joined(link) as client:
        link.limit(1_000_000)
        began, got = time.monotonic(), 0
        client.sendall(bytes(100_000))
        while got < 100_000:
            got += len(client.recv(65_536))
        assert time.monotonic() - began >= 0.1


def test_a_reset_ends_all_at_once_and_lets_new_ones_in(link: Link, echo: Echo) -> None:
    with joined(link) as first, joined(link) as second:
        link.reset()
        assert is_reset(first)
        assert is_reset(second)
        until(echo, 0)
        with joined(link):
            pass


def test_a_cut_keeps_new_ones_out_until_it_heals(link: Link, echo: Echo) -> None:
    with joined(link) as client:
        link.cut()
        assert is_reset(client)
        until(echo, 0)
        assert is_refused(link)
        link.heal()
        with joined(link):
            pass


def test_a_half_open_connection_is_over_for_the_server_alone(link: Link, echo: Echo) -> None:
    with joined(link) as client:
        link.half_open()
        until(echo, 0)
        client.sendall(b"are you there?")
        assert is_silent(client)
        with joined(link):
            pass


def test_a_server_that_is_not_there(net: Chaos) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    assert is_refused(net.link(port))


def test_links_heal_together(net: Chaos, echo: Echo) -> None:
    links = [net.link(echo.server_address[1]) for _ in range(2)]
    for link in links:
        link.cut()
    net.heal()
    for link in links:
        with joined(link):
            pass
