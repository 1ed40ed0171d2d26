"""The portable adapter under ASGI servers that know nothing of handing over: uvicorn with either of its WebSocket
implementations, driven by a client that is neither of ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bus.keys import Keys
from gateway import asgi
from gateway.asgi import payloads
from gateway.node import Node
from gateway.wire.framing import websocket_text
from tests.gateway.stand import Producer, running_node
from tests.gateway.streams import commands, connecting, eventually, listening
from tests.servers import RedisSite

SERVERS = ["websockets-sansio", "wsproto"]


@asynccontextmanager
async def serving(url: str, keys: Keys, server: str, **changes: Any) -> AsyncIterator[tuple[Node, str]]:
    async with asyncio.timeout(90), running_node(url, keys, **changes) as node:
        app = Starlette(routes=asgi.routes(node.service))
        async with listening(app, ws=server, ws_per_message_deflate=False) as port:
            yield node, f"ws://127.0.0.1:{port}/connection/websocket"
            await eventually(lambda: not (node.stats.connections or node.service.hub.topics))


class Replies:
    """What a client receives, one JSON object at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._waiting: list[Any] = []

    async def next(self) -> Any:
        if not self._waiting:
            message = await self._socket.recv()
            assert isinstance(message, str)
            self._waiting = [orjson.loads(line) for line in message.split("\n")]
        return self._waiting.pop(0)


@given(st.lists(st.binary(max_size=200) | st.integers(65_530, 65_540).map(bytes)))
def test_joined_frames_are_taken_apart(sent: list[bytes]) -> None:
    assert list(payloads(b"".join(map(websocket_text, sent)))) == sent


@pytest.mark.parametrize("server", SERVERS)
async def test_the_same_session(redis_server: RedisSite, keys: Keys, server: str) -> None:
    begin = connecting("alice", {"id": 2, "subscribe": {"channel": "news:1"}}).decode()
    async with serving(redis_server.url, keys, server) as (node, url), connect(url) as socket:
        replies = Replies(socket)
        await socket.send(begin)
        assert "session" not in (await replies.next())["connect"]
        assert (await replies.next())["id"] == 2
        producer = Producer(node.pipe, keys)
        for number in range(20):
            await producer.publish("news:1", {"n": number, "text": "é" * 40_000})
        assert [(await replies.next())["push"]["pub"]["data"]["n"] for _ in range(20)] == list(range(20))
        await node.service.drain()
        with pytest.raises(ConnectionClosed) as closed:
            await replies.next()
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (3001, "shutdown")


@pytest.mark.parametrize("server", SERVERS)
async def test_a_missed_pong_closes(redis_server: RedisSite, keys: Keys, server: str) -> None:
    async with serving(redis_server.url, keys, server) as (node, url), connect(url) as socket:
        replies = Replies(socket)
        await socket.send(connecting("alice").decode())
        await replies.next()
        [connection] = node.service.hub.topics["@alice"].members
        node.service.act(connection, connection.session.ping(node.clock.wall()))
        assert await replies.next() == {}
        await socket.send("{}")
        await socket.send(commands({"id": 2, "rpc": {"method": "x"}}).decode())
        assert (await replies.next())["id"] == 2
        node.service.act(connection, connection.session.ping(node.clock.wall()))
        node.service.act(connection, connection.session.overdue_pong(node.clock.wall()))
        assert await replies.next() == {}
        with pytest.raises(ConnectionClosed) as closed:
            await replies.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3012


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize(
    ("said", "code"),
    [("", 3501), ("{", 3501), ('{"id":1,"rpc":{}}', 3501), (b"\x08\x01", 3506), ("x" * 2_001, 1009)],
)
async def test_bad_messages_close_with_their_code(
    redis_server: RedisSite, keys: Keys, server: str, said: str | bytes, code: int
) -> None:
    async with serving(redis_server.url, keys, server, message_bytes=2_000) as (node, url), connect(url) as socket:
        await socket.send(said)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == code
        await eventually(lambda: node.stats.closed[code] == 1)


@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_that_does_not_read_is_closed_as_slow(redis_server: RedisSite, keys: Keys, server: str) -> None:
    begin = connecting("alice", {"id": 2, "subscribe": {"channel": "news:1"}}).decode()
    async with (
        serving(redis_server.url, keys, server, outbox_bytes=200_000) as (node, url),
        connect(url, max_queue=1) as socket,
    ):
        await socket.send(begin)
        await Replies(socket).next()
        producer = Producer(node.pipe, keys)
        async with asyncio.timeout(60):
            while not node.stats.closed[3008]:
                await producer.publish("news:1", "x" * 500_000)
        assert node.stats.connections == 0
        socket.transport.abort()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_peer_that_waits_too_long_is_overdue(redis_server: RedisSite, keys: Keys, server: str) -> None:
    begin = connecting("alice", {"id": 2, "subscribe": {"channel": "news:1"}}).decode()
    changes = {"outbox_bytes": 50_000_000, "outbox_seconds": 0.05}
    async with (
        serving(redis_server.url, keys, server, **changes) as (node, url),
        connect(url, max_queue=1) as socket,
    ):
        await socket.send(begin)
        await Replies(socket).next()
        producer = Producer(node.pipe, keys)
        async with asyncio.timeout(60):
            while not node.stats.closed[3008]:
                await producer.publish("news:1", "x" * 500_000)
                node.service.watch.tick(node.clock.monotonic(), node.clock.wall())
        assert node.stats.stalled == 0
        socket.transport.abort()


@pytest.mark.parametrize("server", SERVERS)
async def test_a_client_that_vanishes_leaves_nothing_behind(redis_server: RedisSite, keys: Keys, server: str) -> None:
    async with serving(redis_server.url, keys, server) as (node, url):
        for abort in (False, True):
            async with connect(url) as socket:
                await socket.send(connecting("alice").decode())
                await socket.recv()
                if abort:
                    socket.transport.abort()
            await eventually(lambda: node.stats.connections == 0)
        assert node.stats.closed[0] == 2


@pytest.mark.parametrize("server", SERVERS)
async def test_who_may_not_connect_is_refused(redis_server: RedisSite, keys: Keys, server: str) -> None:
    async with serving(redis_server.url, keys, server) as (node, url):
        with pytest.raises(InvalidStatus) as refused:
            await connect(url, origin="https://evil.example")  # type: ignore[arg-type]
        assert refused.value.response.status_code == 403
        node.service.draining = True
        with pytest.raises(InvalidStatus) as refused:
            await connect(url)
        assert refused.value.response.status_code == 503
        assert node.stats.opened == 0


@pytest.mark.parametrize("offered", [None, ["centrifuge-json"], ["x", "centrifuge-json"], ["x"]])
async def test_only_our_own_subprotocol_is_accepted(redis_server: RedisSite, keys: Keys, offered: Any) -> None:
    async with (
        serving(redis_server.url, keys, SERVERS[0]) as (_, url),
        connect(url, subprotocols=offered) as socket,
    ):
        assert socket.subprotocol == ("centrifuge-json" if "centrifuge-json" in (offered or ()) else None)
