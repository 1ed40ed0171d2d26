"""How soon partitions move: when a worker is killed, when one joins, and when one is told to stop.

A killed one's partitions move again when an event for each of them, sent right after, was worked; the others are judged
by who holds the leases.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from loadtest.bench.crew import Crew, event
from loadtest.bench.process import Failed
from loadtest.bench.servers import Server

Readings = dict[str, float]

PATIENCE = 20.0
STILL = 1.5
"""Nothing moved for so long: it is over. Two beats of a worker."""
LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    workers: int = 3
    people: int = 500


SMALL = Size(workers=2, people=50)


def takeover(server: Server, size: Size) -> Readings:
    """Seconds from a kill, from joining, and from SIGTERM."""
    with Crew(server.folder / "crew", workers=size.workers) as crew:
        crew.greet(size.people)
        _settled(crew, time.monotonic())
        killed = _killed(crew)
        joined = _joined(crew)
        stopped = _stopped(crew)
    return {"takeover_kill_s": killed, "takeover_join_s": joined, "takeover_stop_s": stopped}


def owners(crew: Crew) -> list[str]:
    """Who holds each partition; "" where nobody does."""
    held: Any = crew.redis.mget([crew.place(partition, "lease") for partition in range(crew.partitions)])
    return [value.decode().rpartition(" ")[0] if value else "" for value in held]


def _settled(crew: Crew, began: float, before: list[str] | None = None, leaving: str = "") -> float:
    """Wait until leases stay where they are; seconds from `began` to the last that moved. Raises `Failed`.

    `before`: where they were, when they may have moved already; `leaving`: part of the name of who is to have none.
    """
    last, moved = before or owners(crew), began
    while time.monotonic() - moved < STILL or any(not owner or (leaving and leaving in owner) for owner in last):
        if time.monotonic() - began > PATIENCE:
            raise Failed("the leases do not come to rest")
        time.sleep(LOOK)
        if (now := owners(crew)) != last:
            last, moved = now, time.monotonic()
    return moved - began


def _killed(crew: Crew) -> float:
    """SIGKILL, an event for each partition that it had, and the time until all were worked."""
    victim = crew.members.pop(0)
    mine = [p for p, owner in enumerate(owners(crew)) if f"-{victim.process.pid}-" in owner]
    if not mine:
        raise Failed("the worker to be killed has no partition")
    os.kill(victim.process.pid, signal.SIGKILL)
    began = time.monotonic()
    sent: dict[int, Any] = {p: crew.redis.xadd(crew.place(p, "events"), {"e": event(["u0"])}) for p in mine}
    while sent:
        if time.monotonic() - began > PATIENCE:
            raise Failed(f"{len(sent)} partitions of a killed worker do not move")
        time.sleep(LOOK)
        sent = {p: entry for p, entry in sent.items() if crew.redis.hget(crew.place(p, "head"), "acked") != entry}
    return time.monotonic() - began


def _joined(crew: Crew) -> float:
    """From the moment in which a new worker says that it is there."""
    known: Any = crew.redis.zcard("tocsin:workers")
    before = owners(crew)
    crew.join()
    began = time.monotonic()
    while int(crew.redis.zcard("tocsin:workers")) <= known:
        if time.monotonic() - began > PATIENCE:
            raise Failed("a new worker does not join")
        time.sleep(LOOK)
    return _settled(crew, time.monotonic(), before)


def _stopped(crew: Crew) -> float:
    """From SIGTERM."""
    leaving, before = crew.members.pop(), owners(crew)
    os.kill(leaving.process.pid, signal.SIGTERM)
    return _settled(crew, time.monotonic(), before, f"-{leaving.process.pid}-")
