"""The measures: each opens its connections on a fresh server and returns readings by name.

A delivery's cost is the gateway's CPU time over deliveries counted by the clients. Latency is taken from the moment
at which a message was due, not sent, so a stalled producer cannot hide what it waited (coordinated omission).
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from loadtest.bench import deliver, fanout
from loadtest.bench.drain import Drain, Plan
from loadtest.bench.process import Failed, cpu_seconds, memory
from loadtest.bench.servers import LOAD_CORE, Server, Tocsin
from loadtest.bench.wire import Pipeline
from loadtest.figures import percentile

Readings = dict[str, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything; counts, and seconds."""

    broadcast: tuple[int, ...] = (2_000, 10_000)
    """Connections on the topic."""
    deliveries: int = 200_000
    """At least this many in each half of a broadcast reading, single events and bursts."""
    memory: int = 10_000
    storm: int = 10_000
    storm_window: int = 500
    """Connections in the making at any moment of the storm."""
    latency: int = 1_000
    rate: int = 200
    """Events per second."""
    seconds: float = 10.0
    fanout: fanout.Size = field(default_factory=fanout.Size)
    deliver: deliver.Size = field(default_factory=deliver.Size)


QUICK = Scale((500, 2_000), 20_000, 2_000, 2_000, latency=200, seconds=3.0, fanout=fanout.SMALL, deliver=deliver.SMALL)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure needs: the drain client's command, and how much to do."""

    client: Sequence[str]
    scale: Scale = field(default_factory=Scale)

    @contextmanager
    def connected(self, plan: Plan) -> Iterator[Drain]:
        """A drain client with all its connections ready."""
        with Drain(self.client, plan, LOAD_CORE) as drain:
            drain.wait_ready()
            yield drain


# Broadcast -------------------------------------------------------------------------------------------------------

BURST = 10
NAP = 1_000
"""Microseconds. Real clients are elsewhere: to wake ours for each delivery is no cost of either server."""


def broadcast(bench: Bench, server: Server) -> Readings:
    """One event at a time, then ten at once, to a topic that every connection follows."""
    readings: Readings = {}
    for connections in bench.scale.broadcast:
        with bench.connected(replace(server.plan(connections, topic=True), nap=NAP)) as drain:
            _warm_up(server, drain, connections)
            readings |= _broadcast(bench, server, drain, connections)
    return readings


def _broadcast(bench: Bench, server: Server, drain: Drain, connections: int) -> Readings:
    rounds = max(3, bench.scale.deliveries // connections)
    bursts = max(3, bench.scale.deliveries // (BURST * connections) * 2)
    server.loop_blocked()
    single = _rounds(server, drain, connections, 1, rounds)
    burst = _rounds(server, drain, connections, BURST, bursts)
    readings = {
        f"broadcast_{connections}_us": single.cpu / single.messages * 1e6,
        f"broadcast_{connections}_wall": single.messages / single.wall,
        f"burst_{connections}_rate": burst.messages / burst.cpu,
        f"burst_{connections}_wall": burst.messages / burst.wall,
        f"frame_{connections}_bytes": single.bytes / single.messages,
    }
    if (blocked := server.loop_blocked()) is not None:
        readings[f"blocked_{connections}_ms"] = blocked * 1e3
    return readings


@dataclass(frozen=True, slots=True)
class _Spent:
    messages: int
    bytes: int
    cpu: float
    wall: float


def _rounds(server: Server, drain: Drain, connections: int, at_once: int, rounds: int) -> _Spent:
    drain.reset()
    wall, cpu = 0.0, cpu_seconds(server.pid)
    for done in range(1, rounds + 1):
        began = time.monotonic_ns()
        server.broadcast(at_once)
        report = drain.wait(done * at_once * connections)
        wall += (report.last_ns - began) / 1e9
    spent = cpu_seconds(server.pid) - cpu
    if report.messages != rounds * at_once * connections or report.closed:
        raise Failed(f"{report.messages} messages came instead of {rounds * at_once * connections}")
    return _Spent(report.messages, report.bytes, spent, wall)


def _warm_up(server: Server, drain: Drain, connections: int) -> None:
    drain.reset()
    for done in range(1, 4):
        server.broadcast(1)
        drain.wait(done * connections)


# Memory ----------------------------------------------------------------------------------------------------------


def footprint(bench: Bench, server: Server) -> Readings:
    """Growth of the process per connection that is authenticated, has its inbox, and follows one topic."""
    with bench.connected(server.plan(100, topic=True)):
        pass  # what is loaded or allocated once, is so by the first connections
    time.sleep(0.5)
    before = memory(server.pid)
    with bench.connected(server.plan(bench.scale.memory, topic=True)):
        time.sleep(1.0)
        after = memory(server.pid)
    rss, pss = ((late - early) / bench.scale.memory for early, late in zip(before, after, strict=True))
    return {"memory_rss": rss, "memory_pss": pss}


# Connect storm ---------------------------------------------------------------------------------------------------


def storm(bench: Bench, server: Server) -> Readings:
    """TCP, upgrade, `connect` with a token, inbox subscribed, its route in Redis."""
    count = bench.scale.storm
    plan = server.plan(count, topic=False, window=bench.scale.storm_window)
    cpu = cpu_seconds(server.pid)
    with Drain(bench.client, plan, LOAD_CORE) as drain:
        report = drain.wait_ready()
        spent = cpu_seconds(server.pid) - cpu
        if isinstance(server, Tocsin) and server.routes() < count:
            raise Failed(f"{server.routes()} routes in Redis for {count} connections")
    return {"storm_cpu": count / spent, "storm_wall": count / ((report.ready_ns - report.began_ns) / 1e9)}


# Latency ---------------------------------------------------------------------------------------------------------


def latency(bench: Bench, server: Server) -> Readings:
    """From the moment an event was due until its recipient, one of many, has it."""
    with bench.connected(server.plan(bench.scale.latency, topic=False)) as drain:
        pipeline = Pipeline(server.port)
        try:
            readings = _latency(bench, drain, _by_post(server, pipeline), pipeline.read_until, "post")
            pipeline.settle()
        finally:
            pipeline.close()
        if isinstance(server, Tocsin):
            readings |= _latency(bench, drain, _by_xadd(server), _sleep_until, "xadd")
    return readings


Send = Callable[[int, int], None]
"""Send one message to a user, stamped with nanoseconds of monotonic time."""


def _by_post(server: Server, pipeline: Pipeline) -> Send:
    return lambda user, stamp: pipeline.send(server.single(user, stamp))


def _by_xadd(server: Tocsin) -> Send:
    streams = server.ingest_keys()

    def send(user: int, stamp: int) -> None:
        # Always the same stream for the same user, for order holds within a stream.
        server.redis.xadd(streams[user % len(streams)], {"e": json.dumps(server.stamped(user, stamp))})

    return send


def _sleep_until(deadline: float) -> None:
    time.sleep(max(0.0, deadline - time.monotonic()))


def _latency(bench: Bench, drain: Drain, send: Send, idle: Callable[[float], None], way: str) -> Readings:
    scale = bench.scale
    drain.reset()  # else what came before would be taken for the warm-up, and the end of that for a sample
    _open_loop(scale.rate, 1.0, scale.latency, send, idle)
    drain.wait(scale.rate)
    drain.reset()
    sent = _open_loop(scale.rate, scale.seconds, scale.latency, send, idle)
    drain.wait(sent)
    samples = [us / 1e3 for us in drain.samples()]
    if len(samples) != sent:
        raise Failed(f"{way}: {len(samples)} messages with a time stamp came instead of {sent}")
    return {f"{way}_{percent}_ms": percentile(samples, percent) for percent in (50, 99)}


def _open_loop(rate: int, seconds: float, users: int, send: Send, idle: Callable[[float], None]) -> int:
    """Send on a fixed schedule, late or not; returns how many."""
    pick = random.Random(rate)
    count = int(rate * seconds)
    began = time.monotonic() + 0.05
    for number in range(count):
        due = began + number / rate
        idle(due)
        send(pick.randrange(users), int(due * 1e9))
    return count


MEASURES: dict[str, Callable[[Bench, Server], Readings]] = {
    "broadcast": broadcast,
    "memory": footprint,
    "storm": storm,
    "latency": latency,
    "fanout": lambda bench, server: fanout.fanout(server, bench.scale.fanout),
    "timers": lambda bench, server: fanout.timers(server, bench.scale.fanout),
    "push": lambda bench, server: deliver.pushes(server, bench.scale.deliver),
    "email": lambda bench, server: deliver.mails(server, bench.scale.deliver),
}
