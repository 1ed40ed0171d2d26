"""Who works what: partitions move when a worker comes or goes, and for no other reason."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.lease import Fenced, Lease, Leases
from bus.pipe import Pipe
from bus.registry import Registry, owned_by
from fanout.tenancy import Tenancy
from tests.conftest import open_pipe
from tests.faults.chaos import chaos
from tests.ports import free_port
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

TTL: Final = 0.8
TRIES: Final = 3
"""How often it may take longer before it is the workers that are late, and not Redis that had to wait for a core."""
LASTING: Final = 3
"""A lease outlives so many lifetimes of a worker that says nothing."""


@dataclass
class Counted:
    """The figures of a worker."""

    leases: int = 0
    leases_lost: int = 0


@dataclass
class Job:
    """Work that does nothing until it is told to stop, or loses its lease."""

    lease: Lease
    over: asyncio.Event = field(default_factory=asyncio.Event)
    fenced: bool = False

    async def run(self) -> None:
        await self.over.wait()
        if self.fenced:
            raise Fenced

    def stop(self) -> None:
        self.over.set()


@dataclass
class Member:
    """A worker, and all that it began."""

    name: str
    tenancy: Tenancy
    stats: Counted
    stop: asyncio.Event
    begun: list[Job]

    @property
    def holds(self) -> set[int]:
        return set(self.tenancy.partitions)


@asynccontextmanager
async def member(url: str, keys: Keys, name: str, ttl: float = TTL) -> AsyncIterator[Member]:
    """A worker at work."""
    begun: list[Job] = []

    def begin(lease: Lease) -> Job:
        begun.append(Job(lease))
        return begun[-1]

    stop, stats, clock = asyncio.Event(), Counted(), SystemClock()
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        pipe = Pipe(url, name=name, clock=clock)
        line = group.create_task(pipe.run())
        await pipe.wait_up(30)
        tenancy = Tenancy(
            name,
            Registry(pipe, keys.workers, name, ttl),
            Leases(pipe, keys, name, LASTING * ttl, silence=ttl),
            keys.partitions,
            begin,
            stats,
            clock,
            ttl=ttl,
            patience=1.0,
        )
        working = group.create_task(tenancy.run(stop))
        yield Member(name, tenancy, stats, stop, begun)
        stop.set()
        await working
        line.cancel()


async def until(shared: set[int], *members: Member) -> float:
    """Until each holds exactly what falls to it; seconds that it took, without those in which this process, and so
    every member, stood still: of each look only so many count as one takes when nothing holds it up."""
    names = [one.name for one in members]
    now, counted = asyncio.get_running_loop().time, 0.0
    looked = now()
    while any(one.holds != owned_by(one.name, names, len(shared)) for one in members):  # nothing tells
        await asyncio.sleep(0.01)
        counted += min(now() - looked, 0.1)
        looked = now()
    return counted


def port_of(redis: EmbeddedRedis) -> int:
    return int(redis.url.rpartition(":")[2].partition("/")[0])


@pytest.fixture
def everything(keys: Keys) -> set[int]:
    return set(range(keys.partitions))


async def test_who_joins_gets_their_share_and_who_stops_gives_it_back_at_once(
    redis_server: RedisSite, keys: Keys, everything: set[int]
) -> None:
    async with member(redis_server.url, keys, "a", 6.0) as first:
        await until(everything, first)
        took: list[float] = []
        while not took or took[-1] >= 4.0:  # a beat of the other, and the pause until it is asked again
            assert len(took) < TRIES, took
            async with member(redis_server.url, keys, f"b{len(took)}", 6.0) as second:
                joined = await until(everything, first, second)
            took.append(max(joined, await until(everything, first)))
            assert (first.stats.leases_lost, second.stats.leases_lost) == (0, 0)
            assert (first.stats.leases, second.stats.leases) == (len(everything), 0)


async def test_every_lease_is_kept_though_not_at_every_beat(
    redis_server: RedisSite, keys: Keys, everything: set[int]
) -> None:
    async with open_pipe(redis_server.url) as pipe, member(redis_server.url, keys, "a") as one:

        async def left() -> list[int]:
            return await pipe.asks(("PTTL", keys.lease(p)) for p in sorted(everything))

        await until(everything, one)
        kept, before = set[int](), await left()
        while kept != everything:
            await asyncio.sleep(0.02)
            now = await left()
            kept |= {p for p in everything if now[p] > before[p]}
            before = now
        assert one.stats.leases_lost == 0


async def test_a_lease_that_is_lost_is_taken_again(redis_server: RedisSite, keys: Keys, everything: set[int]) -> None:
    async with member(redis_server.url, keys, "a") as only, open_pipe(redis_server.url) as pipe:
        await until(everything, only)
        await pipe.ask("SET", keys.lease(3), "thief 9")  # no script would give it to them
        while only.stats.leases_lost == 0:  # noqa: ASYNC110  # the next beat finds it
            await asyncio.sleep(0.01)
        await until(everything, only)  # the thief is not on the list
        count = len(only.begun)
        only.begun[0].fenced = True
        only.begun[0].stop()
        while len(only.begun) == count:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await until(everything, only)
        assert only.begun[-1].lease.partition == only.begun[0].lease.partition


async def test_a_slow_way_to_redis_costs_nobody_a_lease(tmp_path: Path, keys: Keys, everything: set[int]) -> None:
    with EmbeddedRedis(tmp_path / "redis", port=free_port()) as redis, chaos() as net:
        far = net.link(port_of(redis))
        async with (
            member(redis.url, keys, "near") as near,
            member(f"redis://127.0.0.1:{far.port}/0", keys, "far") as away,
        ):
            await until(everything, near, away)
            begun = len(near.begun), len(away.begun)
            far.delay(0.3)  # there and back: most of a lifetime
            await asyncio.sleep(5 * TTL)
            assert (near.stats.leases_lost, away.stats.leases_lost) == (0, 0)
            assert (len(near.begun), len(away.begun)) == begun
            far.heal()


async def test_a_redis_that_hangs_past_all_leases_moves_none(tmp_path: Path, keys: Keys, everything: set[int]) -> None:
    with EmbeddedRedis(tmp_path / "redis", port=free_port()) as redis:
        names = ("a", "b", "c")
        async with (
            member(redis.url, keys, names[0]) as a,
            member(redis.url, keys, names[1]) as b,
            member(redis.url, keys, names[2]) as c,
        ):
            await until(everything, a, b, c)
            begun = [len(one.begun) for one in (a, b, c)]
            assert redis.pid is not None
            os.kill(redis.pid, signal.SIGSTOP)
            await asyncio.sleep((LASTING + 1) * TTL)
            os.kill(redis.pid, signal.SIGCONT)
            await asyncio.sleep(2.5 * TTL)
            assert [one.stats.leases_lost for one in (a, b, c)] == [0, 0, 0]
            assert [len(one.begun) for one in (a, b, c)] == begun
            await until(everything, a, b, c)


async def test_a_redis_that_was_away_gives_everybody_time_to_come_back(
    tmp_path: Path, keys: Keys, everything: set[int]
) -> None:
    with EmbeddedRedis(tmp_path / "redis", port=free_port(), options={"appendonly": "yes"}) as redis, chaos() as net:
        links = [net.link(port_of(redis)) for _ in range(2)]
        urls = [f"redis://127.0.0.1:{link.port}/0" for link in links]
        async with member(urls[0], keys, "a") as first, member(urls[1], keys, "b") as second:
            await until(everything, first, second)
            begun = len(first.begun), len(second.begun)
            for link in links:
                link.cut()
            await asyncio.sleep((LASTING + 0.5) * TTL)
            links[0].heal()  # one is back before the other
            while not (await _alive(redis, keys)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            links[1].heal()
            await asyncio.sleep(3 * TTL)
            await until(everything, first, second)
            assert (len(first.begun), len(second.begun)) == begun


async def _alive(redis: EmbeddedRedis, keys: Keys) -> int:
    async with open_pipe(redis.url) as pipe:
        return int(await pipe.ask("ZCARD", keys.workers))
