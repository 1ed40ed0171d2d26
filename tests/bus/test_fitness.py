"""Which Redis is refused at the start, and which one is waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.clock import SystemClock
from bus.errors import BusDown, Unfit
from bus.fitness import check_fitness, check_installation, fit
from bus.keys import Keys
from bus.pipe import Topology, opened
from tests.conftest import CALM
from tests.servers import RedisSite, start
from tocsin.embedded import EmbeddedRedis

CLOCK = SystemClock()


@pytest.mark.sites
async def test_every_form_is_fit_and_keeps_its_number_of_partitions(site: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60):
        assert await fit(Topology(site.url, clock=CLOCK), keys, CLOCK)
        async with opened(site.url, name="test", clock=CLOCK) as pipe:
            await check_fitness(pipe)
            with pytest.raises(Unfit, match="was made with 8 partitions"):
                await check_installation(pipe, Keys(keys.prefix, 9))


async def test_one_that_evicts_is_refused_and_said_how_to_mend_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", options={"maxmemory-policy": "allkeys-lru"}) as redis:
        async with asyncio.timeout(60), opened(redis.url, name="test", clock=CLOCK) as pipe:
            with pytest.raises(Unfit, match="Set `maxmemory-policy noeviction`"):
                await check_fitness(pipe)


async def test_one_master_of_several_that_evicts_is_named(tmp_path: Path, keys: Keys) -> None:
    with start("cluster", tmp_path, CALM) as site:
        bad = site.masters()[1]
        bad.ask("CONFIG", "SET", "maxmemory-policy", "volatile-ttl")
        async with asyncio.timeout(60):
            with pytest.raises(Unfit, match=f"{bad.name} has maxmemory-policy volatile-ttl"):
                await fit(Topology(site.url, clock=CLOCK), keys, CLOCK)
            # A node of it, as if it were one server.
            with pytest.raises(Unfit, match=r"write redis\+cluster:// instead of redis://"):
                await fit(Topology(f"redis://{bad.name}", clock=CLOCK), keys, CLOCK)


async def test_one_server_under_the_url_of_a_cluster_is_waited_for_and_said_why(redis_server: RedisSite) -> None:
    url = (
        f"redis+cluster://127.0.0.1:{redis_server.nodes[0].port}" if redis_server.kind == "one" else "redis+cluster://h"
    )
    with pytest.raises(BusDown):
        async with asyncio.timeout(60), opened(url, name="test", clock=CLOCK):
            pass


async def test_one_that_is_away_is_waited_for_until_told_to_stop(tmp_path: Path, keys: Keys) -> None:
    redis, stop = EmbeddedRedis(tmp_path / "redis"), asyncio.Event()
    where = Topology(redis.url, clock=CLOCK)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waiting = group.create_task(fit(where, keys, CLOCK))
        stopped = group.create_task(fit(where, keys, CLOCK, stop))
        await asyncio.sleep(0.2)
        stop.set()
        assert not await stopped
        await asyncio.to_thread(redis.start)
        try:
            assert await waiting
        finally:
            await asyncio.to_thread(redis.stop)
