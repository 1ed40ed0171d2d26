"""The way in: heads are read strictly and in time, whatever they are for, and what is handed over leaves no HTTP."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
from websockets.frames import Opcode

from gateway import door
from gateway.handover import GatewayProtocol, HandOver, protocol_of
from gateway.settings import GatewaySettings
from gateway.sweep import Sweep
from gateway.transport import Carrier, SocketConnection
from gateway.wire.codes import CloseInfo, Disconnect
from gateway.wire.framing import LAST_CHUNK, Wire, chunk
from tests.gateway.echo import UPGRADE, Echo, Raw, Served, app, masked, serving

GET = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: example.org\r\nContent-Length: 5\r\n\r\n"


def status(head: bytes) -> int:
    assert head.startswith(b"HTTP/1.1 ")
    return int(head[9:12])


async def body(client: Raw, head: bytes) -> bytes:
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return await client.reader.readexactly(int(length.split(b":")[1]))


async def refused(client: Raw, data: bytes = b"") -> int:
    """The status of a refusal: a problem, after which the connection ends."""
    head = await client.ask(data)
    assert b"\r\nContent-Type: application/problem+json\r\n" in head
    assert b"\r\nConnection: close\r\n" in head
    problem = orjson.loads(await body(client, head))
    assert problem["status"] == status(head)
    assert problem["detail"]
    assert await client.rest() == b""
    return status(head)


class Hourglass(Sweep[Any]):
    """Runs out when the test says so: not before what was sent has come."""

    def __init__(self) -> None:
        super().__init__(0.0, lambda connection: connection.out_of_time())

    def add(self, item: Any) -> None:
        self._due[item] = 0.0

    def run_out(self) -> None:
        self._look()


async def heard(served: Served, data: bytes) -> None:
    """Wait until this beginning of a head has come, of the only connection there is."""
    async with asyncio.timeout(30):
        while [protocol._head for protocol in served.state.connections] != [data]:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0)


# The WebSocket handshake -------------------------------------------------------------------------------------------


def changed(old: bytes, new: bytes) -> bytes:
    assert old in UPGRADE
    return UPGRADE.replace(old, new)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (changed(b"Sec-WebSocket-Key", b"X-Key"), 400),
        (changed(b"GET", b"POST"), 405),
        (changed(b"Version: 13", b"Version: 8"), 426),
        (changed(b"HTTP/1.1", b"HTTP/1.0"), 400),
        (changed(b"Host: example.org", b"Host: a/b?"), 400),
        (changed(b"\r\n\r\n", b"\r\nOrigin: https://evil-example.org\r\n\r\n"), 403),
        (changed(b"\r\n\r\n", b"\r\nOrigin: https://example.org.evil\r\n\r\n"), 403),
        (changed(b"\r\n\r\n", b"\r\nOrigin: null\r\n\r\n"), 403),
        (changed(b"\r\n\r\n", b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"), 431),
        (changed(b"\r\n\r\n", b"\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"), 431),
        (changed(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: " + b"a, " * 10_000 + b"\r\n\r\n"), 431),
        (UPGRADE.replace(b"\r\n", b"\n"), 400),
    ],
)
async def test_a_bad_handshake_gets_its_status(data: bytes, code: int) -> None:
    service = Echo()
    async with serving(service) as served:
        assert await refused(await served.client(), data) == code
        assert service.connections == []
        good = await served.websocket()
        await good.send(masked(b"fine"))
        assert await good.frame() == (Opcode.TEXT, b"fine")


async def test_who_is_not_admitted_is_told_to_come_back() -> None:
    service = Echo(admits=False)
    async with serving(service) as served:
        assert await refused(await served.client(), UPGRADE) == 429
        service.admits = True
        served.protocol.door.draining = True
        assert await refused(await served.client(), UPGRADE) == 503


@pytest.mark.parametrize(("limit", "remote"), [(0, ""), (5, "127.0.0.1")])
async def test_the_address_is_known_only_where_it_is_limited(limit: int, remote: str) -> None:
    service = Echo(GatewaySettings(connections_per_address=limit))
    async with serving(service) as served:
        await served.websocket()
        assert [connection.remote for connection in service.connections] == [remote]


async def test_a_head_in_any_pieces() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        for at in range(len(UPGRADE)):
            await client.send(UPGRADE[at : at + 1])
            await asyncio.sleep(0)
        assert status(await client.head()) == 101


async def test_a_kept_connection_may_still_upgrade() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        for request in (GET, POST + b"12345", GET):
            head = await client.ask(request)
            assert status(head) == 200
            await body(client, head)
        await client.ask(UPGRADE + masked(b"first"))
        assert await client.frame() == (Opcode.TEXT, b"first")
        assert served.state.connections == set()


async def test_nothing_of_http_stays_behind_a_websocket() -> None:
    async with serving(Echo()) as served:
        clients = [await served.websocket() for _ in range(3)]
        assert served.state.connections == set()
        assert len(served.protocol.door.heads) == 0
        gc.collect()
        assert [thing for thing in gc.get_objects() if isinstance(thing, GatewayProtocol)] == []
        assert len(clients) == 3


class Held:
    """A pace that does nothing until it is told to."""

    free = False

    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []
        self.entered = asyncio.Event()

    def enter(self, step: Callable[..., None], *arguments: Any) -> None:
        self.steps.append(lambda: step(*arguments))
        self.entered.set()

    async def has(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.steps) < count:
                self.entered.clear()
                await self.entered.wait()

    def go_on(self) -> None:
        steps, self.steps = self.steps, []
        for step in steps:
            step()


async def test_a_herd_waits_in_line_and_all_it_said_is_heard() -> None:
    async with serving(Echo()) as served:
        door, sockets, requests = served.protocol.door, Held(), Held()
        door.upgrades, door.requests = sockets, requests  # type: ignore[assignment]
        herd = [await served.client() for _ in range(20)]
        for number, client in enumerate(herd):
            await client.send(UPGRADE + masked(b"first %d" % number))
        await sockets.has(20)
        for number, client in enumerate(herd):
            await client.send(masked(b"second %d" % number))
        asking = await served.client()
        await asking.send(POST)
        await requests.has(1)
        await asking.send(b"12345")
        assert door.waiting.things == 21
        requests.go_on()
        assert await body(asking, await asking.head()) == b"5"
        assert await body(asking, await asking.ask(GET)) == b"0"
        herd[0].writer.transport.abort()
        sockets.go_on()
        for number, client in enumerate(herd[1:], 1):
            assert status(await client.head()) == 101
            assert await client.frame() == (Opcode.TEXT, b"first %d" % number)
            assert await client.frame() == (Opcode.TEXT, b"second %d" % number)
        assert door.waiting.things == 0


async def test_who_waits_too_long_in_line_is_told_to_come_again() -> None:
    echo = Echo()
    async with serving(echo) as served:
        sockets = served.protocol.door.upgrades = Held()  # type: ignore[assignment]
        heads = served.protocol.door.heads = Hourglass()
        client = await served.client()
        await client.send(UPGRADE)
        await sockets.has(1)
        heads.run_out()
        assert await refused(client) == 503
        assert echo.sent_away == 1
        sockets.go_on()
        assert served.protocol.door.waiting.things == 0


async def test_the_line_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "MOST_WAITING", 2 * len(UPGRADE))
    echo = Echo()
    async with serving(echo) as served:
        sockets = served.protocol.door.upgrades = Held()  # type: ignore[assignment]
        waiting = [await served.client() for _ in range(2)]
        for client in waiting:
            await client.send(UPGRADE)
        await sockets.has(2)
        assert await refused(await served.client(), UPGRADE) == 503
        assert echo.sent_away == 1
        sockets.go_on()
        assert [status(await client.head()) for client in waiting] == [101, 101]


# Plain HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b?\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"\x16\x03\x01 not http at all\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 17_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 17_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 431),
    ],
)
async def test_a_bad_request_gets_its_status(data: bytes, code: int) -> None:
    async with serving(Echo()) as served:
        good = await served.client()
        assert status(await good.ask(GET)) == 200
        assert await refused(await served.client(), data) == code
        await good.reader.readexactly(1)
        assert status(await good.ask(GET)) == 200


async def test_old_http_needs_no_host() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        assert status(await client.ask(b"GET / HTTP/1.0\r\n\r\n")) == 200


async def test_endless_headers_are_refused_at_once_and_never_kept() -> None:
    async with serving(Echo()) as served:
        served.protocol.door.carrier.closing = Sweep(0.3, lambda connection: connection.abort())
        client = await served.client()
        await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        with pytest.raises(ConnectionError):
            await client.flood(b"y" * 65_536, seconds=30)
        assert served.state.connections == set()


async def test_endless_headers_behind_another_request() -> None:
    """A pipelined head is in the parser's hands; its bytes are counted there."""
    waiting = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await waiting.wait()
        await app(scope, receive, send)

    async with serving(Echo(), slow) as served:
        client = await served.client()
        await client.send(GET + b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
        with pytest.raises(ConnectionError):
            await client.flood(b"y" * 5_000, seconds=30)
        assert client.reader._buffer == b""  # type: ignore[attr-defined]  # no answer, for it would be taken for the first request's
        waiting.set()


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        await client.send(GET + POST + b"12345" + GET[:20])
        for expected in (b"0", b"5"):
            head = await client.head()
            assert (status(head), await body(client, head)) == (200, expected)
        assert status(await client.ask(GET[20:])) == 200


async def test_upgrades_elsewhere_are_ordinary_requests_and_the_last() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        head = await client.ask(UPGRADE.replace(b"/connection/websocket", b"/elsewhere"))
        assert status(head) == 200
        assert await client.rest() == b"0"


# Time --------------------------------------------------------------------------------------------------------------


async def test_a_silent_connection_ends_without_a_word() -> None:
    async with serving(Echo(GatewaySettings(header_timeout=0.1))) as served:
        client = await served.client()
        assert await client.rest() == b""


@pytest.mark.parametrize("start", [b"G", UPGRADE[:-1], GET[:-1]])
async def test_half_a_head_is_not_waited_for(start: bytes) -> None:
    async with serving(Echo()) as served:
        heads = served.protocol.door.heads = Hourglass()
        client = await served.client()
        await client.send(start)
        await heard(served, start)
        heads.run_out()
        assert await refused(client) == 408


async def test_nor_is_the_next_head_on_a_kept_connection() -> None:
    async with serving(Echo()) as served:
        heads = served.protocol.door.heads = Hourglass()
        client = await served.client()
        head = await client.ask(GET)
        await body(client, head)
        heads.run_out()
        await client.send(GET[:10])
        await heard(served, GET[:10])
        heads.run_out()
        assert await refused(client) == 408


async def test_nor_is_half_a_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 0.1)
    async with serving(Echo()) as served:
        assert await refused(await served.client(), POST + b"1") == 408


async def test_only_so_many_may_be_silent_at_a_time() -> None:
    async with serving(Echo(GatewaySettings(max_unauthenticated=2))) as served:
        for _ in range(2):
            await served.client()
        third = await served.client()
        with pytest.raises((ConnectionError, EOFError)):  # aborted, so that it costs nothing
            await third.ask(GET)
        assert len(served.state.connections) == 2


async def test_shutdown_ends_idle_connections_of_both_kinds() -> None:
    async with serving(Echo()) as served:
        silent, used = await served.client(), await served.client()
        head = await used.ask(GET)
        await body(used, head)
        for protocol in tuple(served.state.connections):
            protocol.shutdown()
        assert await silent.rest() == b""
        assert await used.rest() == b""


# Handing over from an endpoint -------------------------------------------------------------------------------------


class Stream(SocketConnection):
    """The smallest of its kind: chunks of a response that does not end by itself."""

    __slots__ = ()
    wire = Wire.STREAM

    def farewell(self, why: CloseInfo) -> bytes:
        return chunk(b"%d\n" % why.code) + LAST_CHUNK


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


def stream_app(service: Echo) -> Starlette:
    carrier = Carrier(service)

    async def stream(request: Any) -> Response:
        response = HandOver(STREAM_HEAD, lambda transport: Stream(carrier))
        response.headers["Access-Control-Allow-Origin"] = "https://example.org"
        return response

    return Starlette(routes=[Route("/stream", stream, methods=["GET", "POST"])])


@pytest.mark.parametrize("request_", [GET, POST + b"12345"])
async def test_an_endpoint_hands_its_transport_over(request_: bytes) -> None:
    service = Echo()
    async with serving(service, stream_app(service)) as served:
        client = await served.client()
        head = await client.ask(request_.replace(b" / ", b" /stream "))
        assert head == STREAM_HEAD[:-2] + b"access-control-allow-origin: https://example.org\r\n\r\n"
        assert served.state.connections == set()
        assert len(served.protocol.door.bodies) == 0
        [connection] = service.connections
        connection.write(chunk(b"hello\n"))
        connection.close(Disconnect.SHUTDOWN)
        assert await client.rest() == b"6\r\nhello\n\r\n5\r\n3001\n\r\n0\r\n\r\n"
        await service.until(lambda: service.codes)
        assert service.codes == [3001]
        await asyncio.sleep(0)
        gc.collect()
        assert [thing for thing in gc.get_objects() if isinstance(thing, GatewayProtocol)] == []


async def test_a_client_that_left_is_not_handed_over() -> None:
    """It went while its endpoint was still at work."""
    service, arrived, go_on = Echo(), asyncio.Event(), asyncio.Event()
    made: list[asyncio.Transport] = []

    async def late(scope: Any, receive: Any, send: Any) -> None:
        arrived.set()
        await go_on.wait()

        def make(transport: asyncio.Transport) -> asyncio.Protocol:
            made.append(transport)
            return Stream(Carrier(service))

        await HandOver(STREAM_HEAD, make)(scope, receive, send)
        arrived.set()

    async with serving(service, late) as served, asyncio.timeout(30):
        client = await served.client()
        await client.send(GET)
        await arrived.wait()
        arrived.clear()
        client.writer.transport.abort()
        await served.empty()
        go_on.set()
        await arrived.wait()
        assert made == []


async def test_other_servers_cannot_hand_over() -> None:
    scope: dict[str, Any] = {"type": "http", "extensions": {}}
    assert protocol_of(scope) is None
    with pytest.raises(RuntimeError, match="cannot hand"):
        await HandOver(STREAM_HEAD, lambda transport: asyncio.Protocol())(scope, _never, _never)


async def _never(*_: Any) -> Any:
    raise AssertionError


# Logs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: GET, lambda: UPGRADE, lambda: UPGRADE.replace(b"13", b"8")])
async def test_no_query_and_no_address_is_ever_logged(
    make: Callable[[], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with serving(Echo()) as served:
            client = await served.client()
            request = make()
            path = request.split(b" ")[1]
            await client.ask(request.replace(path, path + b"?token=secret", 1))
            await (await served.client()).ask(b"\x00secret\r\n\r\n")
    assert "secret" not in caplog.text
    assert "127.0.0.1" not in caplog.text
