"""What receipts are for, in real processes: a step of the ladder is not taken for who has it, and is for who has not,
whatever becomes of the gateways meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from bus.keys import Keys
from bus.partition import DEFAULT_PARTITIONS
from bus.pipe import Pipe
from bus.trail import Kind, Trace, decode
from tests.conftest import open_pipe
from tests.faults.crowd import Person, gathered
from tests.system import KEY, System, system

KEYS = Keys("tocsin", DEFAULT_PARTITIONS)
SOON = 6
"""Seconds until somebody is to be reached otherwise who is back long before that."""
AT_ONCE = 1
"""The same for somebody who never answers."""
LIMIT = 120.0


class Deaf(Person):
    """Somebody whose connection takes everything and answers nothing, as one does whose laptop was closed."""

    def hear(self, said: dict[str, Any]) -> dict[str, Any] | None:
        return super().hear(said) if said else None


def person(kind: type[Person], user: str, made: System, port: int) -> Person:
    return kind(user, [], [gateway.port for gateway in made.gateways], Random(7), port=port)


async def send(made: System, user: str, number: int, after: int) -> None:
    """As a producer, through the gateway that stays."""
    ladder = [{"via": "live"}, {"via": "push", "after": after, "unless": "acked"}]
    event = {"type": "test", "to": {"users": [user]}, "data": number, "ladder": ladder}
    async with httpx.AsyncClient(headers={"X-API-Key": KEY}, timeout=30) as http:
        answer = await http.post(f"{made.gateways[-1].origin}/v1/events", json=event)
    assert answer.status_code == 202, answer.text


async def ends(pipe: Pipe, user: str, count: int = 1) -> list[Trace]:
    """How the push step of each event ended, once it has."""
    final = {Kind.CANCELLED, Kind.SKIPPED, Kind.QUEUED}
    found: list[Trace] = []
    while len(found) < count:
        entries = await pipe.ask("XRANGE", KEYS.trail(user), "-", "+")
        traces = [trace for id, flat in entries if (trace := decode(id, flat)) is not None]
        found = [trace for trace in traces if trace.channel == "push" and trace.kind in final]
        await asyncio.sleep(0.05)
    return found


async def kinds(pipe: Pipe, user: str, count: int) -> list[Kind]:
    """What the gateways noted, once there is so much of it: nothing says that they note it before a step ends."""
    found: list[Kind] = []
    while len(found) < count:
        entries = await pipe.ask("XRANGE", KEYS.trail(user), "-", "+")
        traces = [trace for id, flat in entries if (trace := decode(id, flat)) is not None]
        found = [trace.kind for trace in traces if not trace.channel]
        await asyncio.sleep(0.05)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_who_is_back_soon_after_their_gateway_went_is_reached_no_other_way(
    tmp_path: Path, how: signal.Signals
) -> None:
    with system(tmp_path, gateways=2, drain_seconds=0.2) as made:
        leaving, _ = made.gateways
        ann = person(Person, "ann", made, leaving.port)
        async with asyncio.timeout(LIMIT), open_pipe(made.redis.url) as pipe:
            async with gathered([ann]):
                await asyncio.to_thread(leaving.end, how)
                for number in range(3):
                    await send(made, "ann", number, SOON)
                found = await ends(pipe, "ann", 3)
            assert {(trace.kind, trace.reason) for trace in found} == {(Kind.CANCELLED, "acked")}
            assert ann.got["inbox"] == [0, 1, 2]
            assert ann.faults == []
            # Once each, and once more for what she had not acknowledged when she was too slow and had to come back.
            noted = Counter(await kinds(pipe, "ann", 6))
            assert set(noted) == {Kind.WRITTEN, Kind.ACKED}
            assert noted[Kind.WRITTEN] >= 3
            assert noted[Kind.ACKED] == 3


@pytest.mark.slow
async def test_who_does_not_answer_is_reached_otherwise_though_it_was_written(tmp_path: Path) -> None:
    with system(tmp_path) as made:
        bob = person(Deaf, "bob", made, made.gateways[0].port)
        async with asyncio.timeout(LIMIT), open_pipe(made.redis.url) as pipe:
            async with gathered([bob]):
                await send(made, "bob", 1, AT_ONCE)
                (end,) = await ends(pipe, "bob")
            assert bob.got["inbox"] == [1]
            assert end.kind is Kind.SKIPPED  # for want of a device: it would have been taken
            assert end.reason != "acked"
            assert await kinds(pipe, "bob", 1) == [Kind.WRITTEN]
