"""How every measure of deliveries goes: connect, warm up, publish and count, at once or on a schedule."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from loadtest.bench.drain import Drain, Plan
from loadtest.bench.process import Failed
from loadtest.bench.servers import LOAD_CORE, Server

NAP = 1_000
"""Microseconds. Real clients are elsewhere: to wake ours for each delivery is no cost of either server."""

Send = Callable[[int, int], None]
"""Send one message to a user, stamped with nanoseconds of monotonic time."""


@contextmanager
def connected(client: Sequence[str], plan: Plan) -> Iterator[Drain]:
    """A drain client with all its connections ready."""
    with Drain(client, plan, LOAD_CORE) as drain:
        drain.wait_ready()
        yield drain


@dataclass(frozen=True, slots=True)
class Spent:
    """What deliveries cost."""

    messages: int
    bytes: int
    cpu: float
    wall: float


def rounds(server: Server, drain: Drain, connections: int, at_once: int, count: int) -> Spent:
    """Publish to everybody so many times; each time wait until all have it. Raises `Failed` when not."""
    drain.reset()
    wall, cpu = 0.0, server.cpu()
    for done in range(1, count + 1):
        began = time.monotonic_ns()
        server.broadcast(at_once)
        report = drain.wait(done * at_once * connections)
        wall += (report.last_ns - began) / 1e9
    spent = server.cpu() - cpu
    if report.messages != count * at_once * connections or report.closed:
        raise Failed(f"{report.messages} messages came instead of {count * at_once * connections}")
    return Spent(report.messages, report.bytes, spent, wall)


def warm_up(server: Server, drain: Drain, connections: int) -> None:
    """The first deliveries load and allocate what the later ones find there."""
    drain.reset()
    for done in range(1, 4):
        server.broadcast(1)
        drain.wait(done * connections)


def open_loop(rate: int, seconds: float, users: int, send: Send, idle: Callable[[float], None]) -> int:
    """Send on a fixed schedule, late or not; returns how many."""
    pick = random.Random(rate)
    count = int(rate * seconds)
    began = time.monotonic() + 0.05
    for number in range(count):
        due = began + number / rate
        idle(due)
        send(pick.randrange(users), int(due * 1e9))
    return count


def sleep_until(deadline: float) -> None:
    """Nothing to do meanwhile; `deadline` in monotonic time."""
    time.sleep(max(0.0, deadline - time.monotonic()))
