"""The alarm: who has a partition hears of a timer there that is due before all others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.clock import SystemClock
from bus.connect import BLOCK
from bus.keys import Keys
from bus.pipe import Pipe
from fanout import alarm
from fanout.alarm import Alarm
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import open_pipe
from tests.servers import RedisSite


class Woken:
    """Collects who was woken."""

    def __init__(self) -> None:
        self.partitions: list[int] = []
        self._more = asyncio.Event()

    def __call__(self, partition: int) -> None:
        self.partitions.append(partition)
        self._more.set()

    async def times(self, count: int) -> list[int]:
        while len(self.partitions) < count:
            self._more.clear()
            await self._more.wait()
        return self.partitions


@asynccontextmanager
async def listening(url: str, keys: Keys, worker: str = "w") -> AsyncIterator[tuple[Woken, Pipe]]:
    line = Pipe(url, name="test", clock=SystemClock(), timeout=BLOCK + 1, scripts=False)
    woken = Woken()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(line.run()), group.create_task(Alarm(line, keys, worker).listen(line, woken))]
        yield woken, line
        for task in tasks:
            task.cancel()


async def test_a_worker_hears_the_calls_for_it(redis_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(redis_server.url) as pipe, listening(redis_server.url, keys) as (woken, _):
        rings = Alarm(pipe, keys, "another")
        rings.ring("w", 3)
        assert await woken.times(1) == [3]
        rings.ring("another", 4)
        rings.ring("w", 5)
        rings.ring("w", 3)
        assert await woken.times(3) == [3, 5, 3]


@pytest.mark.one_server
async def test_calls_wait_for_a_worker_that_is_only_away(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        open_pipe(redis_server.url) as pipe,
        holding_proxy(redis_server.port) as (proxy, url),
        listening(url, keys) as (woken, line),
    ):
        Alarm(pipe, keys, "w").ring("w", 1)
        await woken.times(1)
        proxy.cut()
        while line.up:  # noqa: ASYNC110  # the loop has to turn
            await asyncio.sleep(0)
        Alarm(pipe, keys, "w").ring("w", 2)
        assert await woken.times(2) == [1, 2]


async def test_a_wait_without_a_call_begins_anew(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alarm, "BLOCK", 1.0)
    async with open_pipe(redis_server.url) as pipe, listening(redis_server.url, keys) as (woken, _):
        await asyncio.sleep(1.2)  # the wait itself
        Alarm(pipe, keys, "w").ring("w", 1)
        assert await woken.times(1) == [1]


async def test_a_refusal_is_not_asked_for_in_a_loop(redis_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(redis_server.url) as pipe:
        await pipe.ask("SET", keys.worker_bell("w"), "not that type")
        async with listening(redis_server.url, keys) as (woken, _):
            Alarm(pipe, keys, "w").ring("w", 1)  # refused, and nobody minds
            await pipe.ask("DEL", keys.worker_bell("w"))
            Alarm(pipe, keys, "w").ring("w", 2)
            assert await woken.times(1) == [2]
