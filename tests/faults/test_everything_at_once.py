"""Every fault in turn, in random order and closely one after the other, on one system: the books must still balance."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import pytest

from tests.faults.crowd import Person, eventually, gathered
from tests.faults.producers import Poster, Producer, behind, complaints, posting
from tests.system import Role, System, system

USERS = [f"user{n}" for n in range(30)]
TOPICS = ["room:0", "room:1", "room:2"]
SEED = 20_264
NEVER = 60.0
"""Seconds after which a server that is silent would be replaced: longer than any is here."""


class Mischief:
    """What can befall a system. Each returns when the worst is over, not when all is well again."""

    def __init__(self, made: System, chance: Random) -> None:
        self._made, self._chance = made, chance

    def all(self) -> list[Callable[[], Awaitable[None]]]:
        killing = (
            self.kill_a_gateway,
            self.kill_all_gateways,
            self.kill_a_worker,
            self.kill_all_workers,
            self.kill_redis,
        )
        return [*killing, self.pause_a_role, self.pause_redis]

    async def kill_a_gateway(self) -> None:
        await self._restart(self._chance.choice(self._made.gateways))

    async def kill_all_gateways(self) -> None:
        await self._restart(*self._made.gateways)

    async def kill_a_worker(self) -> None:
        await self._restart(self._chance.choice(self._made.workers))

    async def kill_all_workers(self) -> None:
        await self._restart(*self._made.workers)

    async def pause_a_role(self) -> None:
        await self._pause(self._chance.choice(self._made.roles).pid)

    async def pause_redis(self) -> None:
        await self._pause(self._made.redis.pid)

    async def kill_redis(self) -> None:
        await asyncio.to_thread(self._made.redis.kill)
        await asyncio.sleep(self._chance.uniform(0, 1))
        await asyncio.to_thread(self._made.redis.restart)

    async def _restart(self, *roles: Role) -> None:
        for role in roles:
            await asyncio.to_thread(role.kill)
        await asyncio.sleep(self._chance.uniform(0, 0.5))
        for role in roles:
            role.start()

    async def _pause(self, pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(self._chance.uniform(0.5, 3))
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
async def test_the_books_balance_after_every_fault_in_turn(tmp_path: Path) -> None:
    chance = Random(SEED)
    # Nobody takes a master's place: what becomes of the books then is shown by test_failover and test_short_set.
    with system(tmp_path, gateways=2, workers=2, redis={"appendfsync": "always"}, dead_after=NEVER) as made:
        ports, origins = [g.port for g in made.gateways], [g.origin for g in made.gateways]
        people = [Person(USERS[n % 30], [TOPICS[n % 3]], ports, Random(chance.random())) for n in range(90)]
        async with asyncio.timeout(200), posting() as http, gathered(people):
            posters = [Poster(http, way) for way in (origins, origins[::-1], origins)]
            producers = [
                Producer(f"p{n}", USERS[n::3], [TOPICS[n]], poster, Random(chance.random()), persistent=True)
                for n, poster in enumerate(posters)
            ]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for producer in producers:
                    group.create_task(producer.run(stop))
                faults = Mischief(made, chance).all()
                chance.shuffle(faults)
                for fault in faults:
                    await fault()
                    await asyncio.sleep(chance.uniform(0, 1.5))
                stop.set()
            await eventually(lambda: not behind(producers, people))
            await asyncio.sleep(0.5)  # for what should not come any more
        assert complaints(producers, people) == []
        assert [fault for person in people for fault in person.faults] == []
        assert [answer for poster in posters for answer in poster.unhelpful] == []
