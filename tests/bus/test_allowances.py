"""The shared buckets on a real Redis: processes together keep a limit, and hardly any request asks Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.allowance import Limit
from bus.allowances import Allowances
from bus.clock import SystemClock
from bus.errors import BusDown
from bus.keys import Keys
from bus.pipe import Pipe
from tests.conftest import open_pipe


class Counting:
    """A pipe that counts the scripts run on it, and may fail."""

    def __init__(self, pipe: Pipe) -> None:
        self.pipe, self.calls = pipe, 0
        self.down = False

    async def script(self, *call: Any) -> Any:
        self.calls += 1
        if self.down:
            raise BusDown("away")
        return await self.pipe.script(*call)


def processes(pipe: Pipe, keys: Keys, count: int) -> tuple[list[Counting], list[Allowances]]:
    pipes = [Counting(pipe) for _ in range(count)]
    return pipes, [Allowances(one, keys, SystemClock()) for one in pipes]  # type: ignore[arg-type]


async def test_three_processes_share_one_bucket(redis_server: Any, keys: Keys) -> None:
    limit = Limit(2_000.0, 500.0)
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        pipes, all_of_them = processes(pipe, keys, 3)
        clock = SystemClock()
        began, served, asked = clock.monotonic(), 0, 0
        while clock.monotonic() - began < 0.5 or asked < 3 * limit.burst:
            for one in all_of_them:
                asked += 1
                served += (await one.take("shop", limit, 1)).wait == 0
            await asyncio.sleep(0.0002)
        seconds = clock.monotonic() - began
        assert served <= limit.burst + limit.rate * seconds + 3
        assert served >= limit.burst
        assert sum(one.calls for one in pipes) < asked / 3


async def test_a_refusal_says_exactly_how_long_and_asks_nobody_again(redis_server: Any, keys: Keys) -> None:
    limit, quick = Limit(0.05, 10.0), Limit(20.0, 10.0)
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        (counting,), (one,) = processes(pipe, keys, 1)
        began = SystemClock().monotonic()
        assert (await one.take("shop", limit, 10)).wait == 0
        refused = await one.take("shop", limit, 5)
        # Of the hundred seconds that five take, what has passed since the ten were taken.
        assert 100.0 - (SystemClock().monotonic() - began) - 0.01 < refused.wait <= 100.01
        before = counting.calls
        assert (await one.take("shop", limit, 5)).wait > 0
        assert counting.calls == before
        while not (refused := await one.take("other", quick, 5)).wait:  # until it is empty
            pass
        await asyncio.sleep(refused.wait)
        assert (await one.take("other", quick, 5)).wait == 0


async def test_many_at_once_ask_once_for_all(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe, asyncio.TaskGroup() as group:
        (counting,), (one,) = processes(pipe, keys, 1)
        tasks = [group.create_task(one.take("shop", Limit(10_000.0, 1_000.0), 1)) for _ in range(200)]
        assert all([(await task).wait == 0 for task in tasks])
        assert counting.calls < 20


async def test_reserved_tokens_lie_ahead_one_behind_the_other(redis_server: Any, keys: Keys) -> None:
    limit = Limit(0.1, 10.0)
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        _, (one,) = processes(pipe, keys, 1)
        first = await one.reserve("shop", limit, 10)
        second = await one.reserve("shop", limit, 50)
        third = await one.reserve("shop", limit, 1)
        assert 499.95 < second.at - first.at < 500.05
        assert 9.95 < third.at - second.at < 10.05
        assert first.wait == 0
        assert 400.0 < second.wait < 500.05
        assert (await one.take("shop", limit, 1)).wait > 400.0
        assert int(await pipe.ask("PTTL", keys.allowance("shop"))) > 0


async def test_a_clock_that_was_set_back_makes_nobody_wait_for_it(redis_server: Any, keys: Keys) -> None:
    limit, hour = Limit(0.1, 20.0), 3_600_000_000
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        (_, _), (one, other) = processes(pipe, keys, 2)
        assert (await one.take("shop", limit, 10)).wait == 0
        full, noted = map(int, (await pipe.ask("GET", keys.allowance("shop"))).split())
        await pipe.ask("SET", keys.allowance("shop"), f"{full + hour} {noted + hour}", "PX", 3_600_000)
        assert (await other.take("shop", limit, 5)).wait == 0
        assert 0 < (await other.take("shop", limit, 6)).wait < 60
        assert int(await pipe.ask("PTTL", keys.allowance("shop"))) < 300_000


async def test_a_changed_limit_counts_at_once_and_an_outage_is_told(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        (counting,), (one,) = processes(pipe, keys, 1)
        assert (await one.take("shop", Limit(0.01, 1.0), 1)).wait == 0
        assert (await one.take("shop", Limit(0.01, 1.0), 1)).wait > 0
        assert (await one.take("shop", Limit(0.01, 5.0), 1)).wait == 0
        counting.down = True
        with pytest.raises(BusDown):
            await one.take("other", Limit(0.01, 5.0), 1)
