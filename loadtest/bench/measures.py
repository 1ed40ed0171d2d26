"""The measures: each opens its connections on a fresh server and returns readings by name.

A delivery's cost is the gateway's CPU time over deliveries counted by the clients. Latency is taken from the moment
at which a message was due, not sent, so a stalled producer cannot hide what it waited (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from loadtest.bench import crew, deliver, fanout, herd, scale, stalled, takeover
from loadtest.bench.drain import Drain, Plan
from loadtest.bench.process import Failed, memory
from loadtest.bench.rounds import NAP, Send, connected, open_loop, rounds, sleep_until, warm_up
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
    scale: scale.Size = field(default_factory=scale.Size)
    stalled: stalled.Size = field(default_factory=stalled.Size)
    crew: crew.Size = field(default_factory=crew.Size)
    takeover: takeover.Size = field(default_factory=takeover.Size)
    herd: herd.Size = field(default_factory=herd.Size)


QUICK = Scale(
    (500, 2_000),
    20_000,
    2_000,
    2_000,
    latency=200,
    seconds=3.0,
    fanout=fanout.SMALL,
    deliver=deliver.SMALL,
    scale=scale.SMALL,
    stalled=stalled.SMALL,
    crew=crew.SMALL,
    takeover=takeover.SMALL,
    herd=herd.SMALL,
)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measure needs: the drain client's command, and how much to do."""

    client: Sequence[str]
    scale: Scale = field(default_factory=Scale)

    @contextmanager
    def connected(self, plan: Plan) -> Iterator[Drain]:
        """A drain client with all its connections ready."""
        with connected(self.client, plan) as drain:
            yield drain


# Broadcast -------------------------------------------------------------------------------------------------------

BURST = 10


def broadcast(bench: Bench, server: Server) -> Readings:
    """One event at a time, then ten at once, to a topic that every connection follows."""
    readings: Readings = {}
    for connections in bench.scale.broadcast:
        with bench.connected(replace(server.plan(connections, topic=True), nap=NAP)) as drain:
            warm_up(server, drain, connections)
            readings |= _broadcast(bench, server, drain, connections)
    return readings


def _broadcast(bench: Bench, server: Server, drain: Drain, connections: int) -> Readings:
    singles = max(3, bench.scale.deliveries // connections)
    bursts = max(3, bench.scale.deliveries // (BURST * connections) * 2)
    server.loop_blocked()
    single = rounds(server, drain, connections, 1, singles)
    burst = rounds(server, drain, connections, BURST, bursts)
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
    cpu = server.cpu()
    with Drain(bench.client, plan, LOAD_CORE) as drain:
        report = drain.wait_ready()
        spent = server.cpu() - cpu
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
            readings |= _latency(bench, drain, _by_xadd(server), sleep_until, "xadd")
    return readings


def _by_post(server: Server, pipeline: Pipeline) -> Send:
    return lambda user, stamp: pipeline.send(server.single(user, stamp))


def _by_xadd(server: Tocsin) -> Send:
    streams = server.ingest_keys()

    def send(user: int, stamp: int) -> None:
        # Always the same stream for the same user, for order holds within a stream.
        server.redis.xadd(streams[user % len(streams)], {"e": json.dumps(server.stamped(user, stamp))})

    return send


def _latency(bench: Bench, drain: Drain, send: Send, idle: Callable[[float], None], way: str) -> Readings:
    scale = bench.scale
    drain.reset()  # else what came before would be taken for the warm-up, and the end of that for a sample
    open_loop(scale.rate, 1.0, scale.latency, send, idle)
    drain.wait(scale.rate)
    drain.reset()
    sent = open_loop(scale.rate, scale.seconds, scale.latency, send, idle)
    drain.wait(sent)
    samples = [us / 1e3 for us in drain.samples()]
    if len(samples) != sent:
        raise Failed(f"{way}: {len(samples)} messages with a time stamp came instead of {sent}")
    return {f"{way}_{percent}_ms": percentile(samples, percent) for percent in (50, 99)}


# Herd ------------------------------------------------------------------------------------------------------------


def herded(server: Server, size: herd.Size) -> Readings:
    """Everybody is cut off at once and comes back at once."""
    assert isinstance(server, herd.Herded)
    return asyncio.run(herd.run(server, size))


MEASURES: dict[str, Callable[[Bench, Server], Readings]] = {
    "broadcast": broadcast,
    "memory": footprint,
    "storm": storm,
    "latency": latency,
    "fanout": lambda bench, server: fanout.fanout(server, bench.scale.fanout),
    "timers": lambda bench, server: fanout.timers(server, bench.scale.fanout),
    "push": lambda bench, server: deliver.pushes(server, bench.scale.deliver),
    "email": lambda bench, server: deliver.mails(server, bench.scale.deliver),
    "scale": lambda bench, server: scale.scale(bench.client, server, bench.scale.scale),
    "workers": lambda bench, server: crew.workers(server, bench.scale.crew),
    "masters": lambda bench, server: crew.masters(server, bench.scale.crew),
    "growth": lambda bench, server: crew.growth(server, bench.scale.crew),
    "takeover": lambda bench, server: takeover.takeover(server, bench.scale.takeover),
    "stalled": lambda bench, server: stalled.stalled(bench.client, server, bench.scale.stalled),
    "herd": lambda bench, server: herded(server, bench.scale.herd),
}

GROUNDED = ("scale", "workers", "masters", "growth", "takeover", "stalled")
"""Those that start what they need themselves, several times over."""

SELDOM = {"scale": 1, "workers": 1, "masters": 1, "growth": 1, "takeover": 3, "stalled": 3, "herd": 3}
"""So many runs are enough of those that take long; one of those that take turns in it."""
