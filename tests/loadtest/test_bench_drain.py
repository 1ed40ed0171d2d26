"""Both drain clients against a real WebSocket server of the `websockets` library."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.server import Server, ServerConnection, broadcast, serve

from loadtest.bench.drain import Drain, Plan, build
from loadtest.bench.process import Failed

CONNECTIONS = 5
FALLBACK = [sys.executable, "-m", "loadtest.bench.drain_fallback"]


@pytest.fixture(scope="module", params=["compiled", "fallback"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    if request.param == "fallback":
        return FALLBACK
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    command = build(tmp_path_factory.mktemp("drain"))
    assert command != FALLBACK
    return command


async def greet(connection: ServerConnection) -> None:
    """Answers a hello of two commands as a gateway would, then keeps what the client says."""
    said = connection.said = []  # type: ignore[attr-defined]
    async for message in connection:
        if message == '{"id":1}\n{"id":2}':
            await connection.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{}}')
        else:
            said.append(message)


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, int]]:
    async with asyncio.timeout(60), serve(greet, "127.0.0.1", 0, compression=None) as server:
        yield server, next(iter(server.sockets)).getsockname()[1]


def plan(port: int, tmp_path: Path, hello: str = '{"id":1}\t{"id":2}') -> Plan:
    lines = tmp_path / "hello"
    lines.write_text(f"{hello}\n" * CONNECTIONS)
    return Plan(port, "/x?id=#", CONNECTIONS, lines, replies=2, window=2, stamp='"ts":', life=30)


async def test_counts_stamps_and_answers(client: list[str], tmp_path: Path) -> None:
    async with serving() as (server, port):
        with Drain(client, plan(port, tmp_path), core=0) as drain:
            ready = await asyncio.to_thread(drain.wait_ready, 30)
            assert (ready.ready, ready.messages, ready.ready_ns > ready.began_ns) == (CONNECTIONS, 0, True)
            connections = list(server.connections)
            paths = {connection.request.path for connection in connections if connection.request}
            assert paths == {f"/x?id={number}" for number in range(CONNECTIONS)}
            await asyncio.to_thread(drain.reset)
            stamped = f'{{"ts":{time.monotonic_ns()}}}'
            broadcast(connections, "\n".join([stamped, '{"x":1}', "{}"]))
            broadcast(connections, "y" * 70_000)
            report = await asyncio.to_thread(drain.wait, 3 * CONNECTIONS, 30)
            assert (report.messages, report.frames, report.pings) == (3 * CONNECTIONS, 2 * CONNECTIONS, CONNECTIONS)
            assert report.last_ns >= report.first_ns > 0
            samples = await asyncio.to_thread(drain.samples)
            assert len(samples) == CONNECTIONS
            assert all(0 <= sample < 60_000_000 for sample in samples)
            for connection in connections:
                await (await connection.ping())
                assert connection.said == ["{}"]  # type: ignore[attr-defined]


async def test_a_refused_connect_and_a_closed_connection_are_told(client: list[str], tmp_path: Path) -> None:
    async def refuse(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send('{"id":1,"error":{"code":101}}\n{"id":2}')
        await connection.close(3500)

    async with asyncio.timeout(60), serve(refuse, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with Drain(client, plan(port, tmp_path), core=0) as drain:
            with pytest.raises(Failed, match=f"{CONNECTIONS} refused"):
                await asyncio.to_thread(drain.wait_ready, 30)
            report = await asyncio.to_thread(drain.report)
            while report.closed < CONNECTIONS:
                report = await asyncio.to_thread(drain.report)
            assert report.close_code == 3500


async def test_nobody_there_is_a_failure_with_counts(client: list[str], tmp_path: Path) -> None:
    nobody = f"0 of {CONNECTIONS} connections ready, {CONNECTIONS} failed"
    with Drain(client, plan(9, tmp_path), core=0) as drain, pytest.raises(Failed, match=nobody):
        await asyncio.to_thread(drain.wait_ready, 30)


async def test_too_few_messages_are_a_failure(client: list[str], tmp_path: Path) -> None:
    async with serving() as (_, port):
        with Drain(client, plan(port, tmp_path), core=0) as drain:
            await asyncio.to_thread(drain.wait_ready, 30)
            with pytest.raises(Failed, match="0 of 1 messages"):
                await asyncio.to_thread(drain.wait, 1, 0.1)


async def test_leaving_ends_the_client(client: list[str], tmp_path: Path) -> None:
    async with serving() as (server, port):
        with Drain(client, plan(port, tmp_path), core=0) as drain:
            await asyncio.to_thread(drain.wait_ready, 30)
            connections = list(server.connections)
        for connection in connections:
            await connection.wait_closed()
