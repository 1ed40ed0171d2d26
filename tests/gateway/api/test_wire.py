"""The API behind the real server and a real socket: bodies that lie about their length, come late, or never."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
import pytest
import uvicorn

from bus.keys import Keys
from gateway.api import body
from gateway.main import application
from gateway.server import configure
from tests.gateway.api.harness import EVENT, KEY, api_keys
from tests.gateway.stand import running_node, token
from tests.servers import RedisSite

HEAD = f"POST /v1/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()
BODY = orjson.dumps(EVENT)
WHOLE = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY


class Served:
    """A node behind a port."""

    def __init__(self, node: Any, port: int) -> None:
        self.node, self.port = node, port

    async def send(self, *parts: bytes, until: bytes = b"}") -> bytes:
        """Write these bytes and read until the answer's body ends with `until`, or the connection does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
            return await reader.readuntil(until)
        except asyncio.IncompleteReadError as ended:
            return ended.partial
        finally:
            writer.close()

    async def stored(self) -> int:
        """How many events are in the streams."""
        keys: Keys = self.node.keys
        return sum([await self.node.pipe.ask("XLEN", keys.events(p)) for p in range(keys.partitions)])


@asynccontextmanager
async def served(redis: RedisSite, keys: Keys, **changes: Any) -> AsyncIterator[Served]:
    async with asyncio.timeout(60), running_node(redis.url, keys, api_keys=api_keys(), **changes) as node:
        with socket.create_server(("127.0.0.1", 0)) as sock:
            async with asyncio.TaskGroup() as group:
                app = application(node, group.create_task)
                server = uvicorn.Server(configure(app, node.service, lifespan="off"))
                running = group.create_task(server._serve([sock]))
                while not server.started and not running.done():  # noqa: ASYNC110  # uvicorn has no event for it
                    await asyncio.sleep(0.005)
                try:
                    yield Served(node, sock.getsockname()[1])
                finally:
                    server.should_exit = True


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_an_event_over_a_socket(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        answer = await gateway.send(WHOLE)
        assert status(answer) == 202
        assert b"x-content-type-options: nosniff" in answer.lower()
        assert await gateway.stored() == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip, chunked, identity\r\n\r\n",
    ],
    ids=["both lengths", "two lengths", "negative", "no number", "bad chunk", "unknown coding"],
)
async def test_a_body_of_doubtful_length_is_refused(redis_server: RedisSite, keys: Keys, request_bytes: bytes) -> None:
    async with served(redis_server, keys) as gateway:
        answer = await gateway.send(request_bytes, until=b"\r\n\r\n")
        assert answer == b"" or status(answer) == 400
        assert await gateway.stored() == 0
        assert status(await gateway.send(WHOLE)) == 202, "others are served as before"


async def test_a_body_in_chunks_of_one_byte(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in BODY)
        assert status(await gateway.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", chunks, b"0\r\n\r\n")) == 202
        assert await gateway.stored() == 1


async def test_requests_that_come_together_are_answered_in_order(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        bad = WHOLE.replace(b'"type"', b'"tipe"')
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(WHOLE + bad + WHOLE)
        statuses = []
        for _ in range(3):
            head = await reader.readuntil(b"\r\n\r\n")
            statuses.append(status(head))
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()
        assert statuses == [202, 400, 202]
        assert await gateway.stored() == 2


async def test_an_old_client_and_one_that_waits_to_be_asked(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        assert status(await gateway.send(WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"))) == 202
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY))
        assert status(await reader.readuntil(b"\r\n\r\n")) == 100
        writer.write(BODY)
        assert status(await reader.readuntil(b"}")) == 202
        writer.close()


async def test_a_body_that_never_comes_to_its_end(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "DEADLINE", 0.05)
    async with served(redis_server, keys) as gateway:
        answer = await gateway.send(HEAD + b"Content-Length: 1000\r\n\r\n" + BODY)
        assert status(answer) == 408
        assert b"connection: close" in answer.lower()
        assert await gateway.stored() == 0


async def test_a_body_that_breaks_off(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n" + BODY)
        await writer.drain()
        writer.transport.abort()
        assert status(await gateway.send(WHOLE)) == 202
        assert await gateway.stored() == 1


async def test_eighty_megabytes_are_not_taken_in(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        answer = await gateway.send(HEAD + b"Content-Length: 83886080\r\n\r\n", until=b"\r\n\r\n")
        assert status(answer) == 413
        assert await gateway.stored() == 0


async def test_who_sends_too_much_still_hears_the_answer_and_may_go_on(redis_server: RedisSite, keys: Keys) -> None:
    large = b" " * 20_000_000
    async with served(redis_server, keys) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(large) + large + WHOLE)
        assert status(await reader.readuntil(b"}")) == 413
        assert status(await reader.readuntil(b"}")) == 202
        writer.close()


async def test_who_waits_to_be_asked_is_not_asked_for_too_much(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as gateway:
        answer = await gateway.send(HEAD + b"Expect: 100-continue\r\nContent-Length: 83886080\r\n\r\n")
        assert status(answer) == 413
        assert b"connection: close" in answer.lower()


async def test_a_ticket_of_a_real_token_opens_a_stream_once(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        served(redis_server, keys) as gateway,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}") as client,
    ):
        made = await client.post("/v1/ticket", headers={"authorization": f"Bearer {token('alice')}"})
        assert made.status_code == 200
        path = f"/sse?ticket={made.json()['ticket']}"
        async with client.stream("GET", path) as opened:
            assert opened.status_code == 200
        assert (await client.get(path)).status_code == 401
        assert (await client.get("/readyz")).status_code == 200
        assert "tocsin_gateway_opened_total 1.0" in (await client.get("/metrics")).text
