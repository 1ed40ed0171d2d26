"""A delivery worker is killed between its provider's yes and our note of it: nothing is lost, and what comes twice
comes under the same key."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from bus.keys import Keys
from bus.people.profile import Contacts, Webhook
from tests.fanout.office import HOOK, INDEX, SEAL, Town, town, until
from tests.faults.nursery import Nursery, nursery
from tests.ports import free_port
from tests.providers.scripted import listening
from tocsin.embedded import EmbeddedRedis
from tocsin.toml import to_toml

KILLS = 100
WORKERS = 3
PEOPLE = 12
LEASE = 1.0
LONG = 4.0
"""Seconds of a lease: the short one ends soon after its owner, the long one outlasts who stands still for a while."""
PARTITIONS = 8


class Provider:
    """A webhook's other end, which notes the key of each request when it has taken it, and takes its time to say so."""

    def __init__(self, slowness: float) -> None:
        self.keys: Counter[str] = Counter()
        self.busy = 0
        self._slowness = slowness
        self._chance = random.Random(7)

    async def take(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.keys[request.headers["webhook-id"]] += 1
        self.busy += 1
        try:
            await asyncio.sleep(self._chance.uniform(0, self._slowness))
        finally:
            self.busy -= 1
        return web.Response(status=204)

    @property
    def calls(self) -> int:
        return sum(self.keys.values())

    @property
    def repeats(self) -> int:
        return self.calls - len(self.keys)


@dataclass(frozen=True)
class Scene:
    """An installation, its people, their provider, and workers to be born and killed."""

    place: Town
    provider: Provider
    workers: Nursery
    users: list[str]

    async def done(self) -> bool:
        """Whether every job is."""
        keys = self.place.keys
        each = [(keys.jobs(p, "webhook"), keys.later(p, "webhook")) for p in range(keys.partitions)]
        commands = [part for jobs, later in each for part in (("XLEN", jobs), ("ZCARD", later))]
        return sum(await self.place.pipe.asks(commands)) == 0

    async def begun(self, calls: int) -> bool:
        """Whether the provider was called since, or need not be."""
        return self.provider.calls > calls or await self.done()


@asynccontextmanager
async def _scene(folder: Path, slowness: float, concurrency: int, lease: float) -> AsyncIterator[Scene]:
    provider = Provider(slowness)
    config = folder / "tocsin.toml"
    own = {"lease_ttl": lease, "worker_ttl": lease, "webhook_concurrency": concurrency}
    shared = {"directory_keys": [f"k1:{SEAL}"], "directory_index_key": INDEX, "partitions": PARTITIONS}
    config.write_text(to_toml({**shared, "deliver": {**own, "allow_private_addresses": True}}))
    with EmbeddedRedis(folder / "redis", port=free_port(), options={"appendonly": "no"}) as server:
        environ = {"TOCSIN_CONFIG": str(config), "TOCSIN_REDIS_URL": server.url}
        async with listening(provider.take) as origin, town(server.url, Keys("tocsin", PARTITIONS)) as place:
            users = [f"user{number}" for number in range(PEOPLE)]
            for user in users:
                await place.person(user, contacts=Contacts(webhook=Webhook(f"{origin}/{user}", HOOK.secret)))
            with nursery(folder / "deliver.log", environ, "webhook") as workers:
                yield Scene(place, provider, workers, users)
    log = (folder / "deliver.log").read_text()
    assert '"error": {' not in log
    for secret in (SEAL, INDEX, HOOK.secret, origin):
        assert secret not in log


async def _produce(scene: Scene, jobs: set[str], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        for user in scene.users:
            number += 1
            jobs.add((await scene.place.send("webhook", number, user)).id)
        await asyncio.sleep(0.1)


@pytest.mark.slow
async def test_a_hundred_crashes_lose_nothing_and_repeat_one_at_most_each(tmp_path: Path) -> None:
    chance, jobs, stop = random.Random(42), set[str](), asyncio.Event()
    # One call at a time in each worker, so that each crash can repeat one at most.
    async with asyncio.timeout(300), _scene(tmp_path, 0.03, concurrency=1, lease=LEASE) as scene:
        workers, hits = scene.workers, 0
        async with asyncio.TaskGroup() as group:
            group.create_task(_produce(scene, jobs, stop))
            for _ in range(WORKERS):
                workers.bear()
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                hits += scene.provider.busy > 0
                workers.kill(chance.choice(workers.workers))
                workers.bear()
            stop.set()
        await until(scene.done)
        dead = {letter[b"id"].decode() for user in scene.users for letter in await scene.place.dead(user)}

    assert hits > KILLS // 10, "hardly any worker was killed while its provider worked"
    assert not jobs - scene.provider.keys.keys() - dead
    assert scene.provider.keys.keys() <= jobs
    assert 0 < scene.provider.repeats <= KILLS
    assert len(dead) <= 1  # killed three times over one job by chance


@pytest.mark.slow
async def test_a_worker_that_is_told_to_stop_finishes_what_is_under_way(tmp_path: Path) -> None:
    chance = random.Random(1)
    async with asyncio.timeout(120), _scene(tmp_path, 0.2, concurrency=50, lease=LONG) as scene:
        jobs = {(await scene.place.send("webhook", number, user)).id for user in scene.users for number in range(30)}
        while not await scene.done():
            pid, calls = scene.workers.bear(), scene.provider.calls
            await until(lambda calls=calls: scene.begun(calls))
            await asyncio.sleep(chance.uniform(0, 0.2))
            scene.workers.kill(pid, signal.SIGTERM)
        assert scene.provider.keys.keys() == jobs
    assert scene.provider.repeats == 0
