"""SIGTERM under load: everyone is sent away a few at a time, comes back elsewhere, and has missed nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.faults.crowd import Person, eventually, gathered
from tests.faults.producers import Poster, Producer, behind, complaints, posting
from tests.gateway.streams import Stream, cf_connect, connecting
from tests.system import system, token

USERS = [f"user{n}" for n in range(60)]
TOPIC = "room:0"
PEOPLE = 180
DRAIN = 3.0
SLICES = 6
LOOK = 0.02
"""Seconds between two looks at whether this process runs."""
STOOD = 0.15
"""Seconds from one look to the next in which it did not run all the time."""
AFTER = 0.3
"""Seconds after that within which those are sent away who could answer nothing meanwhile."""
SEED = 20_263


async def read_to_the_end(stream: Stream) -> float:
    """Loop time of the end, which must be one of the body and not only of the connection."""
    while await stream.more():
        pass
    assert stream.ended
    return asyncio.get_running_loop().time()


def streams_at(port: int) -> list[Any]:
    """One of each kind of stream for each of four users, subscribed to the topic."""
    subscribe = {"id": 2, "subscribe": {"channel": TOPIC}}
    made: list[Any] = []
    for user in USERS[:4]:
        made.append(Stream.get(port, f"/sse?topics={TOPIC}", Authorization=f"Bearer {token(user)}"))
        made.append(Stream.get(port, cf_connect(user, subscribe)))
        made.append(Stream.post(port, "/connection/http_stream", connecting(user, subscribe)))
    return made


@asynccontextmanager
async def watched() -> AsyncIterator[list[tuple[float, float]]]:
    """When this process had to stand still: what came meanwhile is heard only at the end of that."""
    loop, found = asyncio.get_running_loop(), list[tuple[float, float]]()

    async def watch() -> None:
        while True:
            before = loop.time()
            await asyncio.sleep(LOOK)
            if (after := loop.time()) - before > STOOD:
                found.append((before, after + AFTER))

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        yield found
        watching.cancel()


def assert_spread(heard: list[float], still: list[tuple[float, float]]) -> None:
    """Nearly as long as the drain, and in no part of it much more than in the others. What was heard after this
    process had stood still came at some time of that."""
    earliest = [min((begin for begin, end in still if begin <= time <= end), default=time) for time in heard]
    first, last = min(earliest), max(heard)
    assert last - first > 0.7 * DRAIN
    for n in range(SLICES):
        begin, end = (first + (last - first) * part / SLICES for part in (n, n + 1))
        within = sum(begin <= early == time < end for early, time in zip(earliest, heard, strict=True))
        assert within < 0.5 * len(heard), "most of them at once"


def test_what_is_heard_late_is_no_crowd() -> None:
    times = [DRAIN * n / 99 for n in range(100)]
    assert_spread(times, [])
    late = [max(time, 2.0) if time > 0.1 else time for time in times]
    with pytest.raises(AssertionError, match="most of them at once"):
        assert_spread(late, [])
    assert_spread(late, [(0.1, 2.0)])
    with pytest.raises(AssertionError):
        assert_spread([time / 2 for time in times], [])


@pytest.mark.slow
async def test_a_drained_gateway_hands_its_people_over(tmp_path: Path) -> None:
    chance = Random(SEED)
    with system(tmp_path, gateways=2, drain_seconds=DRAIN) as made:
        leaving, staying = made.gateways
        ports = [leaving.port, staying.port]
        people = [
            Person(USERS[n % len(USERS)], [TOPIC], ports, Random(chance.random()), port=ports[n % 3 == 0])
            for n in range(PEOPLE)
        ]
        moved = [person for person in people if person.port == leaving.port]
        async with (
            asyncio.timeout(150),
            watched() as still,
            posting() as http,
            gathered(people),
            AsyncExitStack() as stack,
        ):
            streams = [await stack.enter_async_context(stream) for stream in streams_at(leaving.port)]
            posters = [Poster(http, [staying.origin]), Poster(http, [leaving.origin, staying.origin])]
            producers = [
                Producer("stays", USERS[::2], [TOPIC], posters[0], Random(1)),
                Producer("moves", USERS[1::2], [], posters[1], Random(2), persistent=True),
            ]
            stop = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                for producer in producers:
                    group.create_task(producer.run(stop))
                readers = [group.create_task(read_to_the_end(stream)) for stream in streams]
                await eventually(lambda: min(producer.sent for producer in producers) > 5)
                status = await asyncio.to_thread(leaving.end)
                await eventually(lambda: all(person.ready.is_set() for person in people))
                sent = producers[0].sent
                await eventually(lambda: producers[0].sent > sent + 5)
                stop.set()
            await eventually(lambda: not behind(producers, people))
            await asyncio.sleep(0.5)  # for what should not come any more
        assert status == 0
        assert complaints(producers, people) == []
        assert [fault for person in people for fault in person.faults] == []
        assert [person.closes for person in people if person not in moved and person.closes] == []
        assert {code for person in moved for _, code in person.closes} == {3001}
        assert [person for person in moved if len(person.closes) != 1 or person.port != staying.port] == []
        closed = [time for person in moved for time, _ in person.closes]
        assert_spread(closed + [reader.result() for reader in readers], still)
        for stream in streams:
            assert b"3001" in stream.body
        assert [answer for poster in posters for answer in poster.unhelpful] == []
