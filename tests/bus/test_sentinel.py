"""The pipe behind sentinels: whom it follows, when it leaves a master, and what comes of traffic when masters change.

Where sentinels have to disagree, or a master has to be cut off from all but us, they are pretended: a server that
answers the two questions we ask, in front of real Redis servers.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import hiredis
import pytest

from bus.clock import SystemClock
from bus.errors import BusDown, Refused
from bus.keys import Keys
from bus.pipe import Pipe
from tests.bus.traffic import Traffic, eventually
from tests.conftest import CALM, UP
from tests.redis_sentinel import SERVICE
from tests.servers import SentinelTrio, start
from tocsin.embedded import EmbeddedRedis

SOON = 4.0
"""Seconds within which a master is left that all but one sentinel have left."""
TRIES = 3
"""How often it may take longer before it is we who are late, and not a process that had to wait for its turn."""


@asynccontextmanager
async def piped(url: str, *, within: float = 90, **options: Any) -> AsyncIterator[Pipe]:
    pipe = Pipe(url, name="test", clock=SystemClock(), **options)
    async with asyncio.timeout(within), asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        await pipe.wait_up(UP)
        yield pipe
        running.cancel()


async def port_of(pipe: Pipe) -> int:
    """Of the server that answers."""
    info = (await pipe.ask("INFO", "server")).decode()
    return int(info.partition("tcp_port:")[2].split()[0])


async def why_down(pipe: Pipe) -> str:
    """Why it is not up, and it is not for a moment."""
    with pytest.raises(BusDown) as down:
        await pipe.wait_up(0.1)
    return str(down.value)


async def until_at(pipe: Pipe, port: int) -> None:
    while True:
        with suppress(BusDown):
            if await port_of(pipe) == port:
                return
        await asyncio.sleep(0.01)


# A real trio -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelTrio]:
    """Nobody in it takes over unasked from a server that had to wait for its turn."""
    with start("sentinel", tmp_path_factory.mktemp("sentinel"), CALM) as site:
        assert isinstance(site, SentinelTrio)
        yield site


@pytest.mark.slow
async def test_a_killed_master_is_replaced(trio: SentinelTrio, keys: Keys) -> None:
    await asyncio.to_thread(trio.until_whole)
    async with piped(trio.url, timeout=30) as pipe:
        (master,) = trio.masters()
        assert await pipe.asks([("SET", keys.lease(0), "x"), ("WAIT", 2, 20_000)]) == [b"OK", 2]
        await asyncio.to_thread(trio.kill, master)
        for sentinel in trio.sentinels:  # it is missed from now on
            await asyncio.to_thread(sentinel.ask, "SENTINEL", "SET", SERVICE, "down-after-milliseconds", 1_000)
        new = await asyncio.to_thread(trio.replaced, master)
        await until_at(pipe, new.port)
        assert await pipe.ask("GET", keys.lease(0)) == b"x"
        for sentinel in trio.sentinels:
            await asyncio.to_thread(sentinel.ask, "SENTINEL", "SET", SERVICE, "down-after-milliseconds", 10_000)
        await asyncio.to_thread(trio.restart, master)
        await asyncio.to_thread(trio.until_whole)


async def test_a_failover_under_load_doubles_nothing(trio: SentinelTrio, keys: Keys) -> None:
    async with piped(trio.url) as pipe:
        traffic = Traffic(pipe, keys)
        async with asyncio.TaskGroup() as group:
            group.create_task(traffic.run())
            await traffic.moved_on(5)
            new = await asyncio.to_thread(trio.failover)
            await until_at(pipe, new.port)
            await traffic.moved_on(5)
            traffic.stop = True
        # What was not replicated may be lost: that is what generations are for. Nothing is there twice.
        await traffic.check(lossless=False)


# Pretended sentinels ---------------------------------------------------------------------------------------------


class Pretended:
    """A sentinel that says what it is told to."""

    def __init__(self) -> None:
        self.names: int | None = None
        """Port of the master."""
        self.epoch = 1
        self.silent = False
        self.asked = 0
        """Commands that came."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        parser = hiredis.Reader()
        with suppress(OSError):
            while data := await reader.read(65_536):
                parser.feed(data)
                while (asked := parser.gets()) is not False:
                    self.asked += 1
                    if not self.silent:
                        writer.write(self._answer(asked))
        writer.close()

    def _answer(self, asked: list[bytes]) -> bytes:
        if asked[:2] == [b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME"]:
            return _array(b"127.0.0.1", b"%d" % self.names) if self.names and asked[2] == b"main" else b"*-1\r\n"
        if asked[:2] == [b"SENTINEL", b"MASTER"]:
            return _array(b"name", b"main", b"config-epoch", b"%d" % self.epoch)
        return b"+OK\r\n"


def _array(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%b\r\n" % (len(part), part) for part in parts)


@asynccontextmanager
async def pretended(count: int, service: str = "main") -> AsyncIterator[tuple[list[Pretended], str]]:
    """So many sentinels, and the URL behind them."""
    sentinels = [Pretended() for _ in range(count)]
    async with AsyncExitStack() as stack:
        starting = [asyncio.start_server(one.serve, "127.0.0.1", 0) for one in sentinels]
        servers: list[Any] = [await stack.enter_async_context(await one) for one in starting]
        hosts = ",".join(f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers)
        yield sentinels, f"redis+sentinel://{hosts}/{service}"


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[EmbeddedRedis, EmbeddedRedis]]:
    with EmbeddedRedis(tmp_path / "a") as old, EmbeddedRedis(tmp_path / "b") as new:
        yield old, new


async def test_an_isolated_master_is_left_though_it_answers_and_a_sentinel_beside_it_still_names_it(
    two: tuple[EmbeddedRedis, EmbeddedRedis], keys: Keys
) -> None:
    old, new = two
    async with pretended(3) as (sentinels, url):
        for one in sentinels:
            one.names = old.port
        async with piped(url) as pipe:
            assert await port_of(pipe) == old.port
            took: list[float] = []
            while not took or took[-1] >= SOON:
                assert len(took) < TRIES, took
                sentinels[0].names, sentinels[0].epoch = old.port, len(took) + 1
                for one in sentinels[1:]:
                    one.names, one.epoch = new.port, len(took) + 2
                began = asyncio.get_running_loop().time()
                await until_at(pipe, new.port)
                took.append(asyncio.get_running_loop().time() - began)
                old, new = new, old


async def test_it_is_not_gone_back_to_when_only_the_sentinel_beside_it_answers(
    two: tuple[EmbeddedRedis, EmbeddedRedis], keys: Keys
) -> None:
    old, new = two
    async with pretended(3) as (sentinels, url):
        for one in sentinels:
            one.names, one.epoch = new.port, 2
        sentinels[0].names, sentinels[0].epoch = old.port, 1
        async with piped(url) as pipe:
            await until_at(pipe, new.port)
            for one in sentinels[1:]:
                one.silent = True
            asked = sentinels[0].asked
            while sentinels[0].asked < asked + 6:  # two commands each time: until after the others were given up
                assert await port_of(pipe) == new.port
                await asyncio.sleep(0.05)


async def test_sentinels_that_are_away_change_nothing(two: tuple[EmbeddedRedis, EmbeddedRedis], keys: Keys) -> None:
    old, new = two
    async with pretended(3) as (sentinels, url):
        for one in sentinels:
            one.names = old.port
        sentinels[0].silent = True
        async with piped(url) as pipe:
            for one in sentinels:
                one.silent = True
            assert await port_of(pipe) == old.port
            # One that comes back with news is enough, and nobody waited for the others.
            sentinels[2].silent, sentinels[2].names, sentinels[2].epoch = False, new.port, 2
            await until_at(pipe, new.port)


async def test_a_master_that_became_a_replica_is_left_at_its_first_refusal(
    two: tuple[EmbeddedRedis, EmbeddedRedis], keys: Keys
) -> None:
    old, new = two
    async with pretended(1) as (sentinels, url):
        sentinels[0].names = old.port
        async with piped(url) as pipe:
            await pipe.ask("REPLICAOF", "127.0.0.1", new.port)
            with pytest.raises(Refused) as refusal:
                await pipe.ask("SET", keys.lease(0), "x")
            assert (refusal.value.code, refusal.value.passing) == ("READONLY", True)
            await eventually(lambda: not pipe.up)
            while "is no master yet" not in await why_down(pipe):
                pass
            sentinels[0].names, sentinels[0].epoch = new.port, 2
            await until_at(pipe, new.port)
            assert await pipe.ask("SET", keys.lease(0), "x") == b"OK"


async def test_a_service_that_nobody_knows_is_named_as_the_fault(two: tuple[EmbeddedRedis, EmbeddedRedis]) -> None:
    async with pretended(1, "other") as (sentinels, url):
        sentinels[0].names = two[0].port
        pipe = Pipe(url, name="test", clock=SystemClock())
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(pipe.run())
            with pytest.raises(BusDown, match="it knows no master of the name that the URL has"):
                await pipe.try_up(UP)
            running.cancel()


async def test_without_sentinels_nobody_is_up_and_it_is_said_why() -> None:
    pipe = Pipe("redis+sentinel://127.0.0.1:1/main", name="test", clock=SystemClock())
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        with pytest.raises(BusDown, match="a sentinel does not answer"):
            await pipe.try_up(UP)
        assert not pipe.up
        running.cancel()
