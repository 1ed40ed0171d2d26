"""One fan-out worker by itself: how many people it reaches, and whether a million waiting timers slow the due ones.

The people are made straight in Redis, by the keys that the documents describe: with an address, seen a moment ago, and
every other one with a connection on a gateway node that only seems to live. So each gets a first timer, and none is due
while events are counted.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from redis.crc import key_slot

from loadtest.bench.process import Failed, Process, cpu_seconds, wait_until
from loadtest.bench.servers import SERVER_CORE, START_TIMEOUT, Server, Tocsin, free_port
from loadtest.bench.wire import Http

Readings = dict[str, float]

PARTITIONS = 64
SLOTS = 16384
NODE = "bench"
PER_EVENT = 2_000
"""Recipients of one event."""
TOGETHER = 5_000
"""Commands in one write to Redis."""
FAR = 4_000_000_000_000
"""A time in milliseconds that the measure does not live to see."""
SLOW = 500
"""Microseconds from which on Redis remembers a script, to find the longest."""
DONE_TIMEOUT = 120.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    people: int = 20_000
    rounds: int = 10
    """Events for each of them."""
    due: int = 20_000
    backlog: int = 1_000_000


SMALL = Size(people=4_000, rounds=3, due=4_000, backlog=50_000)


def partition_tags(partitions: int = PARTITIONS) -> list[str]:
    """The hash tag of each partition, as docs/architecture.md tells to compute it."""
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < partitions:
        tags.setdefault(key_slot(str(number).encode()) * partitions // SLOTS, str(number))
        number += 1
    return [tags[partition] for partition in range(partitions)]


@dataclass(frozen=True, slots=True)
class Member:
    """A worker's process, and where it tells its figures."""

    process: Process
    metrics: Http

    def metric(self, name: str) -> float:
        """One of its figures; 0 while it does not answer."""
        _, text = self.metrics.get("/metrics")
        for line in text.splitlines():
            if line.startswith((f"tocsin_fanout_{name} ", f"tocsin_fanout_{name}_total ")):
                return float(line.split()[-1])
        return 0.0


class Worker(Tocsin):
    """A fan-out worker on its core, Redis on the other, and nobody else."""

    partitions = PARTITIONS
    workers = 1

    def start(self) -> None:
        self.members: list[Member] = []
        self._tags = partition_tags(self.partitions)
        self._stores = self.start_stores()
        self.redis.zadd("tocsin:nodes", {NODE: FAR})
        self.redis.set(f"tocsin:{{node-{NODE}}}:alive", "1")
        self._env = self.environment() | {"TOCSIN_PARTITIONS": str(self.partitions)}
        for _ in range(self.workers):
            self.join()
        self.pid = self.members[0].process.pid
        self.until_shared()

    def start_stores(self) -> list[Process]:
        """Start Redis."""
        return [self.start_redis("--slowlog-log-slower-than", str(SLOW))]

    def join(self) -> Member:
        """Start one more worker."""
        port = free_port()
        metrics = Http(port)
        self._ending.callback(metrics.close)
        env = self._env | {"TOCSIN_METRICS_PORT": str(port)}
        process = self.launch(f"fanout-{len(self.members)}", [self.program, "fanout"], SERVER_CORE, env)
        self.members.append(Member(process, metrics))
        return self.members[-1]

    def until_shared(self) -> None:
        """Wait until every partition is with a worker, and every worker has some. Raises `Failed`."""

        def shared() -> bool:
            leases = [member.metric("leases") for member in self.members]
            return sum(leases) == self.partitions and all(leases)

        processes = [member.process for member in self.members]
        wait_until(shared, START_TIMEOUT, f"{self.partitions} partitions are not held", *processes)

    def metric(self, name: str) -> float:
        """One of the workers' figures, summed up; of one that does not answer it is 0."""
        return sum(member.metric(name) for member in self.members)

    def until(self, name: str, value: float) -> None:
        """Wait for a figure. Raises `Failed`."""
        processes = [member.process for member in self.members]
        wait_until(lambda: self.metric(name) >= value, DONE_TIMEOUT, f"{name} is not {value:g}", *processes)

    def redis_cpu(self) -> float:
        """CPU time of Redis in seconds."""
        return sum(cpu_seconds(store.pid) for store in self._stores)

    # What is in Redis ------------------------------------------------------------------------------------------------

    def people(self, count: int) -> None:
        """Make them."""
        commands: list[Sequence[str | int]] = []
        for number in range(count):
            key = self.place(partition_of(f"u{number}", self.partitions), "user", f"u{number}")
            commands.append(("HSET", f"{key}:meta", "last_seen", FAR))
            commands.append(("HSET", f"{key}:profile", "email", "sealed"))
            if number % 2:
                commands.append(("HSET", f"{key}:routes", NODE, FAR))
        self.run(commands)

    def events(self, people: int, rounds: int, ladder: Sequence[dict[str, object]]) -> Iterator[Sequence[str]]:
        """The XADD of each: every round one event for every one of the people, spread over the ingest streams."""
        for number in range(rounds):
            for start in range(0, people, PER_EVENT):
                users = [f"u{n}" for n in range(start, min(people, start + PER_EVENT))]
                event = {
                    "type": "bench",
                    "to": {"users": users},
                    "ladder": ladder,
                    "title": "x" * 40,
                    "body": "y" * 100,
                }
                stream = self.place((number * 31 + start // PER_EVENT) % self.partitions, "events")
                yield "XADD", stream, "*", "e", json.dumps(event)

    def run(self, commands: Iterable[Sequence[str | int]]) -> None:
        """Run commands, many in one write."""
        pipeline = self.redis.pipeline(transaction=False)
        for number, command in enumerate(commands, 1):
            pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            if number % TOGETHER == 0:
                pipeline.execute()
        pipeline.execute()

    def place(self, partition: int, *parts: str) -> str:
        """A key of a partition."""
        return ":".join(("tocsin", "{" + self._tags[partition] + "}", *parts))

    def all_due(self) -> None:
        """Let all steps be due that were set with a wait, and have the worker look at once, as who sets one does."""
        lease: Any = self.redis.get(self.place(0, "lease"))
        owner = lease.decode().rpartition(" ")[0]
        commands: list[Sequence[str | int]] = []
        for partition in range(PARTITIONS):
            timers = self.place(partition, "timers")
            members: Any = self.redis.zrangebyscore(timers, "-inf", FAR - 1)
            commands += [("ZADD", timers, "XX", 1, member.decode()) for member in members]
        calls = [("RPUSH", f"tocsin:{{worker-{owner}}}:bell", partition) for partition in range(PARTITIONS)]
        self.run([*commands, *calls])


def partition_of(user: str, partitions: int = PARTITIONS) -> int:
    """Where a user lives."""
    return crc32(user.encode()) % partitions


# Measures --------------------------------------------------------------------------------------------------------


def fanout(server: Server, size: Size) -> Readings:
    """Inbox append, route lookup and first timer, for every recipient of large events."""
    assert isinstance(server, Worker)
    server.people(size.people)
    ladder: list[dict[str, object]] = [{"via": "live"}, {"via": "email", "after": 600, "unless": "read"}]
    server.run(server.events(size.people, 1, ladder))  # inboxes exist from then on
    server.until("recipients", size.people)
    server.redis.slowlog_reset()
    cpu, store, began = cpu_seconds(server.pid), server.redis_cpu(), time.monotonic()
    server.run(server.events(size.people, size.rounds, ladder))
    count = size.people * size.rounds
    server.until("recipients", size.people + count)
    wall = time.monotonic() - began
    longest = max((entry["duration"] for entry in server.redis.slowlog_get(128)), default=SLOW)
    return {
        "fanout_wall": count / wall,
        "fanout_cpu": count / (cpu_seconds(server.pid) - cpu),
        "fanout_redis_us": (server.redis_cpu() - store) / count * 1e6,
        "fanout_script_ms": longest / 1e3,
    }


def timers(server: Server, size: Size) -> Readings:
    """Steps that are due, first with nothing else waiting, then behind a large backlog."""
    assert isinstance(server, Worker)
    server.people(max(size.people, size.due))
    alone = _steps(server, size)
    _backlog(server, size.backlog)
    behind = _steps(server, size)
    return {
        "steps_wall": alone.rate,
        "steps_behind_wall": behind.rate,
        "steps_redis_us": alone.redis_us,
        "steps_behind_redis_us": behind.redis_us,
        "steps_ratio": behind.redis_us / alone.redis_us,
    }


@dataclass(frozen=True, slots=True)
class _Taken:
    rate: float
    redis_us: float


def _steps(server: Worker, size: Size) -> _Taken:
    """Give everybody one step, let all be due at once, and see how fast they are taken."""
    given, taken = server.metric("recipients"), server.metric("steps")
    server.run(server.events(size.due, 1, [{"via": "email", "after": 600}]))
    server.until("recipients", given + size.due)
    began, store = time.monotonic(), server.redis_cpu()
    server.all_due()
    server.until("steps", taken + size.due)
    return _Taken(size.due / (time.monotonic() - began), (server.redis_cpu() - store) / size.due * 1e6)


def _backlog(server: Worker, count: int) -> None:
    """Timers that are not due, evenly in all partitions."""
    batch = 1_000

    def commands() -> Iterator[Sequence[str | int]]:
        for start in range(0, count, batch):
            timers = server.place(start // batch % PARTITIONS, "timers")
            pairs = [p for n in range(start, start + batch) for p in (FAR + n, f"step\n5.bench/{n}\nu{n}\n1")]
            yield "ZADD", timers, *pairs

    server.run(commands())
    if not server.redis.zcard(server.place(0, "timers")):
        raise Failed("there is no backlog")


MEASURES = ("fanout", "timers")
"""Those that need a worker by itself."""
