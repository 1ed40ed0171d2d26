"""Workers that crash again and again, that share a name with others, or that are told to stop while they wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from bus.clock import SystemClock
from bus.connect import BLOCK
from bus.keys import Keys
from bus.lease import Leases
from tests.conftest import open_pipe
from tests.fanout.office import until
from tests.faults.ledger import Fault
from tests.faults.namesakes import HOST, NUMBER
from tests.faults.scene import Stage
from tests.faults.test_matrix import row
from tests.faults.world import World, world
from tests.servers import KINDS, RedisSite

QUICK = 0.3
"""Seconds between two crashes that come before the worker is at work, and are to find it in its start."""
CRASHES = 8
SLOWER = 4
"""More of them, some seconds apart, which find it at work."""
ENDS = BLOCK - 0.5
"""Seconds within which a worker that waits for work ends when it is told to: it does not read to the end."""
PATIENCE = 8.0
"""And as many more where Redis does not answer, to which it would say that it is gone."""
TRIES = 3
"""How often it may take longer before it is the worker that is late, and not a process that had to wait for its turn:
one that reads to the end, in each of its partitions, is late every time."""

pytestmark = pytest.mark.slow


def alive(made: World) -> dict[str, list[str]]:
    """The names of the workers that count as alive, by what they work."""
    keys, now = made.keys, SystemClock().wall() * 1000
    lists = {"fanout": keys.workers, "deliver": keys.deliverers("webhook")}
    with made.site.client() as redis:
        return {
            name: [member.decode() for member in redis.zrangebyscore(key, now, "+inf")] for name, key in lists.items()
        }


async def until_alive(made: World, fanouts: int, delivers: int) -> None:
    """Until so many are."""

    def are() -> bool:
        found = alive(made)
        return (len(found["fanout"]), len(found["deliver"])) == (fanouts, delivers)

    async with asyncio.timeout(30):
        await until(lambda: asyncio.to_thread(are))


async def test_workers_that_crash_in_a_loop_hold_nothing_up(tmp_path: Path) -> None:
    """One of two of each kind: what it took is taken over, and nothing of its many lives stays."""
    chance = Random(1)
    with world(tmp_path) as made:

        async def loop(stage: Stage) -> None:
            for pause in [QUICK] * CRASHES + [chance.uniform(1.0, 2.0) for _ in range(SLOWER)]:
                for name in ("fanout 0", "deliver 0"):
                    began = stage.now()
                    await asyncio.to_thread(made.roles[name].kill)
                    made.roles[name].start()
                    stage.ledger.faults.append(Fault(f"kill {name}", began, stage.now()))
                await asyncio.sleep(pause)
            await until_alive(made, 2, 2)

        await row(made, 121, loop)


async def test_workers_with_one_host_name_and_number_are_told_apart(tmp_path: Path) -> None:
    with world(tmp_path, program=("tests.faults.namesakes",)) as made:

        async def crash(stage: Stage) -> None:
            await until_alive(made, 2, 2)
            for names in alive(made).values():
                assert len(set(names)) == 2
                assert all(name.startswith(f"{HOST}-{NUMBER}-") for name in names)
            for name in ("fanout 1", "deliver 1"):
                began = stage.now()
                await asyncio.to_thread(made.roles[name].kill)
                await asyncio.sleep(0.5)
                made.roles[name].start()
                stage.ledger.faults.append(Fault(f"kill {name}", began, stage.now()))
            await until_alive(made, 2, 2)

        await row(made, 122, crash)


async def test_a_lease_is_its_owners_by_the_whole_of_the_name(redis_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(redis_server.url) as pipe:
        first, second = (Leases(pipe, keys, f"{HOST}-{NUMBER}-{end}", 600) for end in ("aaaaaa", "aaaaab"))
        assert (held := (await first.hold([0]))[0]) is not None
        assert (await second.hold([0]))[0] is None
        assert not await second.release(replace(held, owner=f"{HOST}-{NUMBER}-aaaaab"))
        assert await first.release(held)
        assert (await second.hold([0]))[0] is not None


@pytest.fixture(scope="module", params=KINDS)
def idle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Workers with nothing to do: all of them sit in blocked reads."""
    with world(tmp_path_factory.mktemp("world"), request.param, gateways=0, fanouts=1, delivers=1) as made:
        yield made


@pytest.mark.sites
@pytest.mark.parametrize("reachable", [True, False])
async def test_a_worker_stops_amid_a_blocked_read(idle: World, reachable: bool) -> None:
    """At once, and within its patience where Redis does not answer; then others may take what it had."""
    took = [await stopped(idle, reachable)]
    while took[-1] >= ENDS + (0 if reachable else PATIENCE):
        assert len(took) < TRIES, took
        took.append(await stopped(idle, reachable))


async def stopped(idle: World, reachable: bool) -> float:
    """Start them, and stop them when they have nothing to do: how many seconds that takes."""
    for role in idle.roles.values():
        if not role.runs:
            role.start()
    await until_alive(idle, 1, 1)
    await asyncio.to_thread(until_leased, idle)
    if not reachable:
        for wire in idle.wires.values():
            wire.hold()
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        ends = [group.create_task(asyncio.to_thread(role.end)) for role in idle.roles.values()]
    assert [end.result() for end in ends] == [0, 0]
    took = time.monotonic() - began
    idle.net.heal()
    async with asyncio.timeout(30):
        await until(lambda: asyncio.to_thread(lambda: not leases(idle)))
    return took


def leases(made: World) -> int:
    """How many partitions are leased, of events and of jobs."""
    keys = made.keys
    with made.site.client() as redis:
        names = [key for p in range(keys.partitions) for key in (keys.lease(p), keys.jobs_lease(p, "webhook"))]
        return sum(bool(redis.exists(name)) for name in names)


def until_leased(made: World) -> None:
    """Until all are."""
    deadline = time.monotonic() + 30
    while leases(made) < 2 * made.keys.partitions:
        assert time.monotonic() < deadline, "the partitions are not leased"
        time.sleep(0.05)
