"""kill -9 of fan-out workers in mid-stream, at random points of a fixed seed: the ledger must balance."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from bus.keys import Keys
from bus.pipe import Pipe
from bus.registry import owner_of
from tests.conftest import open_pipe
from tests.fanout.stand import Node, data_of, send
from tests.faults.checker import check
from tests.faults.ledger import Accepted, Ledger, Stored
from tests.looking import values
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

ROOT: Final = Path(__file__).parents[2]
TAKE_OVER: Final = 5.0
"""Seconds from the death of a worker until its partitions move again."""
TRIES: Final = 3
"""The machine may stand still in one of them."""
TTL: Final = 1.0


class Workers:
    """Worker processes of one installation."""

    def __init__(self, redis: RedisSite, keys: Keys, folder: Path) -> None:
        self._log = folder / "workers.log"
        config = folder / "tocsin.toml"
        config.write_text("[namespaces.news]\nhistory_size = 10000\nhistory_ttl = 3600\n")
        self._environ = {
            **os.environ,
            "TOCSIN_CONFIG": str(config),
            "TOCSIN_REDIS_URL": redis.url,
            "TOCSIN_PREFIX": keys.prefix,
            "TOCSIN_PARTITIONS": str(keys.partitions),
            "TOCSIN_WORKER_TTL": str(TTL),
            "TOCSIN_LEASE_TTL": str(TTL),
            "TOCSIN_BATCH": "20",
            "TOCSIN_INBOX_SIZE": "100000",
        }
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """One more."""
        command = [sys.executable, "-c", "from fanout.main import main; main()"]
        with self._log.open("ab") as log:
            self.running.append(subprocess.Popen(command, cwd=ROOT, env=self._environ, stdout=log, stderr=log))

    def kill(self, pid: int) -> None:
        """One less, without a word."""
        (victim,) = (worker for worker in self.running if worker.pid == pid)
        self.running.remove(victim)
        victim.kill()
        victim.wait(10)

    def stop(self) -> list[int]:
        """End all in good order; their return codes."""
        for worker in self.running:
            worker.send_signal(signal.SIGTERM)
        return [worker.wait(30) for worker in self.running]


@contextmanager
def working(redis: RedisSite, keys: Keys, folder: Path, count: int) -> Iterator[Workers]:
    workers = Workers(redis, keys, folder)
    try:
        for _ in range(count):
            workers.start()
        yield workers
    finally:
        for worker in workers.running:
            worker.kill()
            worker.wait(10)


class Producer:
    """Sends numbered events to random audiences and keeps the ledger."""

    def __init__(self, pipe: Pipe, keys: Keys, chance: random.Random) -> None:
        self._pipe, self._keys, self._chance = pipe, keys, chance
        self._names = [f"news:{n}" for n in range(6)]
        self._users = [f"user {n}" for n in range(12)]
        self.ledger = Ledger()
        self.number = 0

    @property
    def everybody(self) -> list[str]:
        return [*self._names, *(f"@{user}" for user in self._users)]

    async def until(self, enough: asyncio.Event) -> None:
        """Send until it is enough."""
        while not enough.is_set():
            await self.some(10)
            await asyncio.sleep(0.02)

    async def some(self, count: int) -> None:
        # One key for all: one stream, so that the order of acceptance is the order of each topic.
        for _ in range(count):
            topics = self._chance.sample(self._names, self._chance.randint(0, 2))
            users = self._chance.sample(self._users, self._chance.randint(1, 5))
            event: dict[str, Any] = {"type": "x", "key": "one", "to": {"topics": topics, "users": users}}
            await send(self._pipe, self._keys, event | {"data": self.number})
            recipients = (*topics, *(f"@{user}" for user in users))
            self.ledger.accepted.append(Accepted(str(self.number), recipients, line="one"))
            self.number += 1


async def one_at_work(pipe: Pipe, keys: Keys, workers: Workers) -> int:
    """The worker that has just taken entries of the producer's partition and not yet acknowledged them."""
    p = keys.partition("one")
    while True:
        lease, pending = await pipe.asks((("GET", keys.lease(p)), ("XPENDING", keys.events(p), "fanout")))
        if lease and isinstance(pending, list) and pending[0]:
            pid = pid_of(lease.split(b" ")[0])
            if any(worker.pid == pid for worker in workers.running):
                return pid


def pid_of(name: bytes) -> int:
    """The process behind a worker's name."""
    return int(name.rsplit(b"-", 2)[1])


async def at_work(pipe: Pipe, keys: Keys, workers: Workers) -> None:
    """Until all running workers have said that they are there."""
    wanted = {worker.pid for worker in workers.running}
    while not wanted <= set(map(pid_of, await pipe.script("register", (keys.workers,), (1,)))):  # noqa: ASYNC110
        await asyncio.sleep(0.02)


async def settled(pipe: Pipe, keys: Keys) -> None:
    """Until every entry of every partition is acknowledged; the test's timeout bounds it."""
    for p in range(keys.partitions):
        while True:
            newest = await pipe.ask("XREVRANGE", keys.events(p), "+", "-", "COUNT", 1)
            if not newest or await pipe.ask("HGET", keys.head(p), "acked") == newest[0][0]:
                break
            await asyncio.sleep(0.01)


async def balance(node: Node, producer: Producer) -> None:
    """What lies in logs and inboxes is what was accepted, once and in order; and the node was told all of it."""
    arrived = {}
    for topic in producer.everybody:
        epoch, top, publications = await node.read(topic, 0)
        assert top == len(publications), topic
        arrived[topic] = publications
        for offset, publication in enumerate(publications, 1):
            producer.ledger.stored.append(Stored(topic, str(epoch), offset, str(data_of(publication))))
    assert check(producer.ledger) == []
    told: dict[str, set[int]] = {topic: set() for topic in producer.everybody}
    for entry in await node.all_entries():
        for topic, offset in offsets(entry):
            told[topic].add(offset)
    assert told == {topic: set(range(1, len(publications) + 1)) for topic, publications in arrived.items()}


def offsets(entry: Mapping[str, bytes]) -> list[tuple[str, int]]:
    """What an entry of a node's stream is about."""
    if entry["k"] == b"u":
        return [("@" + user, offset) for user, offset, _ in orjson.loads(entry["u"])]
    return [(entry["t"].decode(), int(entry["o"]))]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_is_lost_or_doubled_when_workers_are_killed(tmp_path: Path, keys: Keys, seed: int) -> None:
    chance = random.Random(seed)
    with EmbeddedRedis(tmp_path / "redis") as redis, working(redis, keys, tmp_path, 2) as workers:
        async with asyncio.timeout(150), open_pipe(redis.url) as pipe:
            node, producer = Node(pipe, keys), Producer(pipe, keys, chance)
            await node.listen(*producer.everybody)
            await producer.some(50)
            for _ in range(6):
                async with asyncio.TaskGroup() as group:
                    enough = asyncio.Event()
                    group.create_task(producer.until(enough))
                    await asyncio.sleep(chance.uniform(0, 0.3))  # the random point
                    workers.kill(await one_at_work(pipe, keys, workers))
                    workers.start()
                    enough.set()
                if chance.random() < 0.5:
                    await settled(pipe, keys)
            await settled(pipe, keys)
            await balance(node, producer)
            assert sum([await pipe.ask("XLEN", keys.dead(p)) for p in range(keys.partitions)]) == 0
            await at_work(pipe, keys, workers)
            assert await asyncio.to_thread(workers.stop) == [0, 0]
            workers.running.clear()


@pytest.mark.slow
async def test_a_worker_that_was_paused_past_its_lease_does_no_harm(tmp_path: Path, keys: Keys) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis, working(redis, keys, tmp_path, 2) as workers:
        async with asyncio.timeout(150), open_pipe(redis.url) as pipe:
            node, producer = Node(pipe, keys), Producer(pipe, keys, random.Random(3))
            await node.listen(*producer.everybody)
            for _ in range(3):
                await at_work(pipe, keys, workers)
                async with asyncio.TaskGroup() as group:
                    enough = asyncio.Event()
                    group.create_task(producer.until(enough))
                    paused = await one_at_work(pipe, keys, workers)
                    os.kill(paused, signal.SIGSTOP)
                    # Its successor is at work, and then both are.
                    while await one_at_work(pipe, keys, workers) == paused:  # noqa: ASYNC110  # there is no event for it
                        await asyncio.sleep(0.02)
                    os.kill(paused, signal.SIGCONT)
                    await asyncio.sleep(0.2)
                    enough.set()
                await settled(pipe, keys)
            await balance(node, producer)


@pytest.mark.slow
async def test_the_partitions_of_a_killed_worker_move_within_seconds(tmp_path: Path, keys: Keys) -> None:
    with (
        EmbeddedRedis(tmp_path / "redis", options={"appendonly": "no"}) as redis,
        working(redis, keys, tmp_path, 2) as workers,
    ):
        async with asyncio.timeout(150), open_pipe(redis.url) as pipe:
            topics = [f"news:{n}" for n in range(40)]
            node = Node(pipe, keys)
            await node.listen(*topics)

            async def everywhere() -> None:
                for topic in topics:
                    await send(pipe, keys, {"type": "x", "to": {"topics": [topic]}})
                await node.entries(len(topics))

            async def shared_out() -> bool:
                """Whether every partition is with the one it falls to."""
                members = [name.decode() for name in await pipe.script("register", (keys.workers,), (1,))]
                held = await values(pipe, *(keys.lease(p) for p in range(keys.partitions)))
                owners = [value.split(b" ")[0].decode() if value else None for value in held]
                return owners == [owner_of(p, members) for p in range(keys.partitions)]

            took = TAKE_OVER
            for _ in range(TRIES):
                await at_work(pipe, keys, workers)
                while not await shared_out():  # noqa: ASYNC110  # there is no event for it
                    await asyncio.sleep(0.02)
                await everywhere()
                victim = await pipe.ask("GET", keys.lease(keys.partition(topics[0])))
                workers.kill(pid_of(victim.split(b" ")[0]))
                began = asyncio.get_running_loop().time()
                await everywhere()
                took = asyncio.get_running_loop().time() - began
                if took < TAKE_OVER:
                    break
                workers.start()
            assert took < TAKE_OVER
