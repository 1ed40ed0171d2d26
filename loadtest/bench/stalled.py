"""Clients that stop reading: what the others notice, and what the gateway holds back for those who do not take it.

The stalled ones are a program of their own that is stopped, connections and all, so their kernel's buffers fill as on
a phone in a tunnel. The same schedule runs first with them reading like everybody else.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.bench.drain import Drain, Plan
from loadtest.bench.process import Failed
from loadtest.bench.rounds import NAP, connected, open_loop
from loadtest.bench.servers import LOAD_CORE, TOPIC, Server, Tocsin
from loadtest.bench.wire import Pipeline, http_request
from loadtest.figures import percentile

Readings = dict[str, float]

OUTBOX = 1_048_576
"""The gateway's setting `outbox_bytes`."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    healthy: int = 270
    stalled: int = 30
    rate: int = 20
    """Events per second to everybody."""
    bytes: int = 8_000
    """Of each."""
    seconds: float = 10.0
    """More of it than the kernel's buffers and an outbox take."""


SMALL = Size(healthy=45, stalled=5, seconds=4.0)


def stalled(client: Sequence[str], server: Server, size: Size) -> Readings:
    """p99 of those who read, beside those who do too and beside those who do not; and the memory that these cost."""
    with Tocsin(server.folder / "beside") as made:
        plan = replace(made.plan(size.healthy, topic=True), stamp='"ts":', nap=NAP)
        others = replace(made.plan(size.stalled, topic=True), nap=NAP)
        with connected(client, plan) as drain:
            with Others(client, others) as reading:
                without, _ = _p99(made, drain, size)
                reading.check()
            with Others(client, others) as reading:
                _p99(made, drain, replace(size, seconds=1.0))
                before = resident(made.pid)
                reading.stop()
                beside, most = _p99(made, drain, size)
    return {
        "stalled_without_99_ms": without,
        "stalled_99_ms": beside,
        "stalled_ratio": beside / without,
        "stalled_memory_ratio": max(0, most - before) / (size.stalled * OUTBOX),
    }


class Others:
    """Clients that will stop reading. Use as a context manager."""

    def __init__(self, client: Sequence[str], plan: Plan) -> None:
        self._drain = Drain(client, plan, LOAD_CORE)

    def __enter__(self) -> Others:
        try:
            self._drain.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def stop(self) -> None:
        """They read no more."""
        os.kill(self._drain.pid, signal.SIGSTOP)

    def check(self) -> None:
        """Raises `Failed` when one was sent away."""
        if closed := self._drain.report().closed:
            raise Failed(f"{closed} connections were closed that read what they were sent")

    def __exit__(self, *_: object) -> None:
        os.kill(self._drain.pid, signal.SIGCONT)
        self._drain.__exit__(None, None, None)


def resident(pid: int) -> int:
    """Bytes of memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _p99(server: Tocsin, drain: Drain, size: Size) -> tuple[float, int]:
    """Milliseconds for those who read, and the most memory (bytes) that the gateway had meanwhile."""
    pipeline = Pipeline(server.port, 1)
    most = 0

    def idle(deadline: float) -> None:
        nonlocal most
        most = max(most, resident(server.pid))
        pipeline.read_until(deadline)

    def send(_: int, stamp: int) -> None:
        pipeline.send(_request(server, size, stamp))

    drain.reset()
    try:
        sent = open_loop(size.rate, size.seconds, 1, send, idle)
        report = drain.wait(sent * size.healthy)
        pipeline.settle()
    finally:
        pipeline.close()
    if report.closed:
        raise Failed(f"{report.closed} connections were closed that read what they were sent")
    return percentile([us / 1e3 for us in drain.samples()], 99), most


def _request(server: Tocsin, size: Size, stamp: int) -> bytes:
    event = {"type": "bench", "to": {"topics": [TOPIC]}, "data": {"ts": stamp, "text": "x" * size.bytes}}
    return http_request(server.port, "/v1/events", json.dumps(event).encode(), server.headers())
