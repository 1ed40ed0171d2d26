"""Several fan-out workers, several Redis masters, ever more people and partitions: what an event costs in each.

Events are for one person each, as most are. What is compared is CPU per event of all workers together, and commands
that Redis executes for an event, those inside of scripts included: both must stay as they are when things grow, and
where they do, more machines carry more events.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from loadtest.bench.fanout import FAR, NODE, SLOW, Worker, partition_of
from loadtest.bench.masters import form
from loadtest.bench.process import Failed, Process, cpu_seconds, wait_until
from loadtest.bench.servers import LOAD_CORE, START_TIMEOUT, Server, all_free, free_ports
from loadtest.figures import medians

Readings = dict[str, float]

LADDER: list[dict[str, object]] = [{"via": "live"}, {"via": "email", "after": 600, "unless": "read"}]
POLL = 0.05
"""Seconds between two looks at how far the workers are."""
PATIENCE = 60.0
BUS = 10_000
"""A node's port on the cluster's bus is so much higher than its own."""
GREETING = 2_000
"""Recipients of each of the events that make everybody's inbox before anything is counted."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    events: int = 6_000
    people: int = 10_000
    workers: tuple[int, ...] = (1, 2, 4)
    masters: tuple[int, ...] = (1, 3)
    growing_people: tuple[int, ...] = (1_000, 10_000, 100_000)
    growing_partitions: tuple[int, ...] = (16, 64, 256)
    growing_nodes: tuple[int, ...] = (1, 10, 100)
    turns: int = 5
    """So often each of those that are compared is measured."""


SMALL = Size(1_000, 500, (1, 2), (1, 3), (200, 1_000), (16, 64), (1, 10))


class Crew(Worker):
    """So many workers on one core, and Redis on the other: one server, or a cluster of so many masters.

    Of `nodes` gateway nodes that seem to live, one has all the connections.
    """

    def __init__(
        self, folder: Path, *, workers: int = 1, masters: int = 1, partitions: int = 64, nodes: int = 1
    ) -> None:
        super().__init__(folder)
        self.workers, self.masters, self.partitions, self.nodes = workers, masters, partitions, nodes
        self._asked = 0
        """Commands of our own since the count began."""

    def start(self) -> None:
        super().start()
        others = [f"{NODE}-{number}-abcdef" for number in range(1, self.nodes)]
        self.redis.zadd("tocsin:nodes", dict.fromkeys((NODE, *others), FAR))

    def start_stores(self) -> list[Process]:
        if self.masters == 1:
            stores = super().start_stores()
            self._each = [self.redis]
            return stores
        ports = self._ports()
        stores = [self._master(port) for port in ports]
        self._each = [redis.Redis("127.0.0.1", port, socket_timeout=30) for port in ports]
        for client in self._each:
            self._ending.callback(client.close)
        wait_until(lambda: all(map(_answers, self._each)), START_TIMEOUT, "Redis does not answer", *stores)
        form(ports)
        cluster: Any = redis.RedisCluster("127.0.0.1", ports[0], socket_timeout=30)
        self._ending.callback(cluster.close)
        self.redis = cluster
        self.url = "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports)
        return stores

    def _ports(self) -> list[int]:
        """Free ones whose neighbours on the cluster's bus, 10,000 above, are free too."""
        while not all_free(range((first := free_ports(self.masters)) + BUS, first + BUS + self.masters)):
            continue
        return [first + number for number in range(self.masters)]

    def _master(self, port: int) -> Process:
        folder = self.folder / f"master-{port}"
        folder.mkdir()
        options = ["--cluster-enabled", "yes", "--dir", str(folder), "--slowlog-log-slower-than", str(SLOW)]
        return self.launch(f"redis-{port}", [*self._redis_command(port), *options], LOAD_CORE)

    def cpu(self) -> float:
        """Of all workers together."""
        return sum(cpu_seconds(member.process.pid) for member in self.members)

    def commands(self) -> int:
        """Commands that all masters executed since they were started, without this question and our own."""
        infos: list[Any] = [client.info("stats") for client in self._each]
        self._asked += len(infos)
        return sum(int(info["total_commands_processed"]) for info in infos) - self._asked

    def greet(self, people: int) -> None:
        """Make everybody, and give everybody something, so that inboxes and all that is kept exist."""
        self.people(people)
        events = -(-people // GREETING)
        users = [f"u{number}" for number in range(people)]

        def greetings() -> Iterator[Sequence[str | int]]:
            for number in range(events):
                some = users[number * GREETING : (number + 1) * GREETING]
                yield "XADD", self.place(number % self.partitions, "events"), "*", "e", event(some)

        self.run(greetings())
        self.until("recipients", people)

    def work(self, events: int, people: int) -> None:
        """Events for one of the people each, and wait until all were worked."""
        users = [f"u{number * people // events}" for number in range(events)]
        places = [self.place(partition_of(user, self.partitions), "events") for user in users]
        self.run([("XADD", place, "*", "e", event([user])) for user, place in zip(users, places, strict=True)])
        self._asked += events
        waiting = sorted(set(places))
        pipeline = self.redis.pipeline(transaction=False)
        for place in waiting:
            pipeline.xrevrange(place, count=1)
        last = dict(zip(waiting, (found[0][0] for found in pipeline.execute()), strict=True))
        self._asked += len(last)
        deadline = time.monotonic() + PATIENCE
        for place, entry in last.items():
            while not self._acked(place, entry):
                if time.monotonic() > deadline:
                    raise Failed(f"events in {place} were not worked")
                time.sleep(POLL)

    def _acked(self, place: str, entry: bytes) -> bool:
        """Whether all of a stream was worked up to an entry. One at a time, or what looking costs Redis would grow with
        the number of partitions."""
        self._asked += 1
        return bool(self.redis.hget(place.removesuffix("events") + "head", "acked") == entry)


def event(users: list[str]) -> str:
    """As a producer would XADD it."""
    shown = {"title": "x" * 40, "body": "y" * 100}
    return json.dumps({"type": "bench", "to": {"users": users}, "ladder": LADDER, **shown})


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


# Measures --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cost:
    """Of an event."""

    us: float
    redis_us: float
    commands: float
    rate: float

    def readings(self, name: str) -> Readings:
        return {
            f"{name}_us": self.us,
            f"{name}_redis_us": self.redis_us,
            f"{name}_commands": self.commands,
            f"{name}_wall": self.rate,
        }


def _warm_up(server: Crew, people: int, events: int) -> None:
    server.greet(people)
    server.work(events // 4, people)


def _measured(server: Crew, people: int, events: int) -> _Cost:
    cpu, store, commands, began = server.cpu(), server.redis_cpu(), server.commands(), time.monotonic()
    server.work(events, people)
    wall = time.monotonic() - began
    return _Cost(
        (server.cpu() - cpu) / events * 1e6,
        (server.redis_cpu() - store) / events * 1e6,
        (server.commands() - commands) / events,
        events / wall,
    )


def _ratios(readings: Readings, name: str, first: int, last: int) -> Readings:
    """The last against the first."""
    return {
        f"{name}_{what}_ratio": readings[f"{name}_{last}_{what}"] / readings[f"{name}_{first}_{what}"]
        for what in ("us", "commands")
    }


@dataclass(frozen=True, slots=True)
class _Entry:
    """One of those that are compared: what there are `count` of, the crew with so many, and the people it works for."""

    count: int
    crew: Crew
    people: int


def _series(name: str, entries: Sequence[_Entry], size: Size) -> Readings:
    """The same events through each: medians of several turns, for the same machine is faster in one minute than in the
    next."""
    with ExitStack() as stack:
        for entry in entries:
            stack.enter_context(entry.crew)
            _warm_up(entry.crew, entry.people, size.events)
        turns = [_turn(name, entries, size) for _ in range(size.turns)]
    return medians(turns)


def _turn(name: str, entries: Sequence[_Entry], size: Size) -> Readings:
    readings: Readings = {}
    for entry in entries:
        readings |= _measured(entry.crew, entry.people, size.events).readings(f"{name}_{entry.count}")
    return readings | _ratios(readings, name, entries[0].count, entries[-1].count)


def _grown(name: str, counts: Sequence[int], made: Callable[[Path, int], Crew], server: Server, size: Size) -> Readings:
    entries = [_Entry(count, made(server.folder / f"{name}-{count}", count), size.people) for count in counts]
    return _series(name, entries, size)


def workers(server: Server, size: Size) -> Readings:
    """Through one worker and several."""
    return _grown("workers", size.workers, lambda folder, n: Crew(folder, workers=n), server, size)


def masters(server: Server, size: Size) -> Readings:
    """With one Redis and with a cluster."""
    return _grown("masters", size.masters, lambda folder, n: Crew(folder, masters=n), server, size)


def growth(server: Server, size: Size) -> Readings:
    """The same number of events among ever more people, with ever more partitions, and with ever more gateway nodes."""
    entries = [_Entry(n, Crew(server.folder / f"people-{n}"), n) for n in size.growing_people]
    readings = _series("people", entries, size)
    readings |= _grown(
        "partitions", size.growing_partitions, lambda folder, n: Crew(folder, partitions=n), server, size
    )
    return readings | _grown("nodes", size.growing_nodes, lambda folder, n: Crew(folder, nodes=n), server, size)
