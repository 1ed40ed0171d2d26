"""kill -9 of fan-out workers while they climb ladders: every step is taken once, and told of once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from bus.keys import Keys
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.fanout.stand import send
from tests.faults.test_kill_fanout import at_work, settled, working
from tocsin.embedded import EmbeddedRedis

USERS: Final = [f"user {n}" for n in range(60)]
EVENTS: Final = 120
LADDER: Final = [
    {"via": "live"},
    {"via": "push", "after": 30, "unless": "acked"},
    {"via": "sms"},
    {"via": "email", "unless": "read"},
]


async def everybody_is_reachable(pipe: Pipe, keys: Keys) -> None:
    device = orjson.dumps({"provider": "fcm", "target": "sealed", "state": "active"})
    for user in USERS:
        await pipe.ask("HSET", keys.profile(user), "email", "sealed")
        await pipe.ask("HSET", keys.devices(user), "d1", device, "d2", device)


async def at_the_end(pipe: Pipe, keys: Keys) -> None:
    """Until no step waits; the test's timeout bounds it."""
    await settled(pipe, keys)
    while any([await pipe.ask("ZCARD", keys.timers(p)) for p in range(keys.partitions)]):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def jobs(pipe: Pipe, keys: Keys, channel: str) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for p in range(keys.partitions):
        for _, flat in await pipe.ask("XRANGE", keys.jobs(p, channel), "-", "+"):
            job = dict(zip(flat[::2], flat[1::2], strict=True))
            found[job[b"e"].decode(), job[b"u"].decode(), job[b"t"].decode()] += 1
    return found


async def told(pipe: Pipe, keys: Keys) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for user in USERS:
        for _, flat in await pipe.ask("XRANGE", keys.trail(user), "-", "+"):
            trace = dict(zip(flat[::2], flat[1::2], strict=True))
            if trace[b"r"] != b"duplicate":  # an entry that was taken up again
                found[trace[b"e"].decode(), user, trace[b"k"].decode(), trace[b"c"].decode()] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_every_step_is_taken_once_however_many_workers_are_killed(tmp_path: Path, keys: Keys, seed: int) -> None:
    chance = random.Random(seed)
    with EmbeddedRedis(tmp_path / "redis") as redis, working(redis, keys, tmp_path, 2) as workers:
        async with asyncio.timeout(150), open_pipe(redis.url) as pipe:
            await everybody_is_reachable(pipe, keys)
            await at_work(pipe, keys, workers)
            sent: set[tuple[str, str]] = set()
            for number in range(EVENTS):
                users = chance.sample(USERS, 8)
                await send(pipe, keys, {"id": str(number), "type": "x", "ladder": LADDER, "to": {"users": users}})
                sent |= {(f"4.xadd/{number}", user) for user in users}
                if number % 20 == 10:
                    await asyncio.sleep(chance.uniform(0, 0.05))  # the random point
                    workers.kill(chance.choice(workers.running).pid)
                    workers.start()
            await at_the_end(pipe, keys)
            for p in range(keys.partitions):
                assert await pipe.ask("XLEN", keys.dead(p)) == 0
            pushes, mails = await jobs(pipe, keys, "push"), await jobs(pipe, keys, "email")
            assert pushes == Counter((ref, user, device) for ref, user in sent for device in ("d1", "d2"))
            assert mails == Counter((ref, user, "") for ref, user in sent)
            steps = (("queued", "push"), ("skipped", "sms"), ("queued", "email"))
            assert await told(pipe, keys) == Counter((*who, *what) for who in sent for what in steps)
            await at_work(pipe, keys, workers)
            assert await asyncio.to_thread(workers.stop) == [0, 0]
            workers.running.clear()
