"""The process: one owner of a port, several nodes on one, and a way to go that tells everyone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.server import listen, reserve
from tests.gateway.echo import UPGRADE, Raw, masked

one_loop = pytest.mark.asyncio(loop_factories=["asyncio"])
"""The loop under test is in the programs."""

ROOT = Path(__file__).parents[3]


def test_a_port_has_one_owner() -> None:
    with listen("127.0.0.1", 0, send_buffer=65_536) as first:
        port = first.getsockname()[1]
        for attempt in (lambda: listen("127.0.0.1", port, send_buffer=65_536), lambda: reserve("127.0.0.1", port)):
            with pytest.raises(OSError, match="in use"):
                attempt()


def test_workers_share_a_reserved_port() -> None:
    with (
        reserve("127.0.0.1", 0) as kept,
        listen("127.0.0.1", kept.getsockname()[1], send_buffer=65_536, shared=True) as first,
        listen("127.0.0.1", kept.getsockname()[1], send_buffer=65_536, shared=True) as second,
    ):
        assert first.getsockname() == second.getsockname()
        for _ in range(20):
            socket.create_connection(first.getsockname(), timeout=5).close()  # none goes to the one that is only kept


def test_the_send_buffer_is_inherited_by_connections() -> None:
    with listen("127.0.0.1", 0, send_buffer=20_000) as server:
        server.setblocking(True)
        with socket.create_connection(server.getsockname()), server.accept()[0] as accepted:
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * 20_000  # Linux counts it double


PATIENCE = 90
"""Seconds; programs start slowly on a machine that is busy."""


class Program:
    """A running one_node.py: its process, and the worker pids it told of."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.port = 0
        self.pids: list[int] = []

    async def told(self) -> int:
        """Wait for one more worker; its pid."""
        assert self.process.stdout
        async with asyncio.timeout(PATIENCE):
            pid, port = (await self.process.stdout.readline()).split()
        self.port = int(port)
        self.pids.append(int(pid))
        return int(pid)

    async def status(self) -> int:
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()

    async def websocket(self) -> Raw:
        client = Raw(*await asyncio.open_connection("127.0.0.1", self.port))
        assert (await client.ask(UPGRADE)).startswith(b"HTTP/1.1 101 ")
        return client


@asynccontextmanager
async def running(*args: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.gateway.sockets.one_node", "127.0.0.1", *args, cwd=ROOT, stdout=-1
    )
    program = Program(process)
    try:
        yield program
    finally:
        for pid in (process.pid, *program.pids):
            if pid == process.pid and process.returncode is not None:
                continue
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        async with asyncio.timeout(PATIENCE):
            await process.communicate()  # to the end of its output, which its workers share


async def leaves(client: Raw) -> None:
    """It is told to come back, answers, and is let go."""
    assert await client.close_code() == 3001
    await client.send(masked(b"\x0b\xb9", 8))
    assert await client.rest() == b""
    client.go()


@one_loop
async def test_sigterm_sends_everyone_away_and_ends_well() -> None:
    async with running("0", "1") as program:
        await program.told()
        # First, so that it is inside before the others are: one that still waits at the door is reset.
        idle = Raw(*await asyncio.open_connection("127.0.0.1", program.port))
        clients = [await program.websocket() for _ in range(3)]
        program.process.send_signal(signal.SIGTERM)
        for client in clients:
            await leaves(client)
        assert await idle.rest() == b""
        idle.go()
        assert await program.status() == 0


@one_loop
async def test_workers_share_a_port_and_are_replaced_and_go_together() -> None:
    async with running("0", "2") as program:
        first, second = await program.told(), await program.told()
        assert first != second
        client = await program.websocket()
        os.kill(first, signal.SIGKILL)
        third = await program.told()
        assert third not in (first, second)
        program.process.send_signal(signal.SIGTERM)
        try:
            await leaves(client)
        except (EOFError, ConnectionError):
            client.go()  # it was on the killed one
        assert await program.status() == 0
        assert program.process.pid not in program.pids


@one_loop
async def test_workers_do_not_outlive_their_parent() -> None:
    async with running("0", "2") as program:
        await program.told()
        await program.told()
        client = await program.websocket()
        program.process.kill()
        await leaves(client)


@one_loop
async def test_workers_that_cannot_start_end_the_parent() -> None:
    async with running("0", "2", "broken") as program:
        assert await program.status() == 7
