"""Some clients stop reading under a stream of publications: they cost the node no more than the caps allow and nobody
else anything, and when they read again they are told to come back, and go on where they were."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
import pytest

from tests.faults.crowd import Link, Person, eventually, gathered
from tests.faults.producers import posting
from tests.system import KEY, Gateway, system

TOPIC: Final = "room:busy"
LOUD: Final = "room:loud"
"""The slow ones listen to it, and one who reads."""
CLIENTS: Final = 60
SLOW: Final = 6
BODY: Final = "x" * 40_000
EVENTS: Final = 300
QUIET: Final = 100
"""Small events that everybody is to have: fewer than one who comes back is given."""
WARM: Final = 20
WINDOW: Final = 4
"""Events on their way at a time."""
OUTBOX: Final = 131_072
SEND_BUFFER: Final = 65_536
RECEIVE_BUFFER: Final = 16_384
HEADERS: Final = {"x-api-key": KEY, "content-type": "application/json"}
SLOW_CODE: Final = 3008
HELD: Final = 65_536
"""Bytes that the transport of a connection may hold beside its outbox."""
ROOM: Final = 6 * 1_048_576
"""Bytes that a working node may need besides: buffers of requests, what the allocator keeps. Half of what is said."""

pytestmark = pytest.mark.slow


class Reader(Person):
    """May stop reading what comes, as a phone in a tunnel does."""

    told = 0
    """How often it heard that it missed something for good."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.reachable = asyncio.Event()
        self.reachable.set()

    def begin(self, channel: str, result: dict[str, Any]) -> None:
        """What was said loudly is more than anybody can be given who comes back: then they are told so."""
        if channel == LOUD and channel in self.places and not result.get("recovered"):
            del self.places[channel]
            self.told += 1
        super().begin(channel, result)

    async def dial(self) -> Link:
        """Its kernel keeps little for it. Set before it connects: a window that was offered once is not taken back,
        and what came into one with no room behind it would be lost and sent again ever more seldom."""
        await self.reachable.wait()
        with ExitStack() as if_it_fails:
            made = if_it_fails.enter_context(socket.socket())
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            made.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(made, ("127.0.0.1", self.port))
            _, link = await loop.create_connection(lambda: Link(self), sock=made)
            if_it_fails.pop_all()
        return link

    def stop_reading(self) -> None:
        """From now on what comes is left where it is: in a small buffer, and then nowhere; it can connect no more,
        and does not notice how long it hears nothing."""
        assert self._link is not None
        self.reachable.clear()
        self._link.expect_pings(0.0)
        self._transport.pause_reading()

    def read_on(self) -> None:
        self._transport.resume_reading()

    @property
    def _transport(self) -> asyncio.Transport:
        assert self._link is not None
        assert self._link.transport is not None
        return self._link.transport


async def post_all(gateway: Gateway, topic: str, count: int, body: str, heard: Sequence[Person]) -> None:
    """A stream of events as fast as these hear them: whoever reads never has more than WINDOW of them before it, so
    that only who does not is slow, however long a process of ours has to wait for its turn."""
    numbers, url = iter(range(count)), f"{gateway.origin}/v1/events"
    async with posting() as http, asyncio.TaskGroup() as group:

        async def post() -> None:
            for number in numbers:
                await eventually(lambda number=number: least(heard, topic) > number - WINDOW)
                event = {"type": "x", "to": {"topics": [topic]}, "data": [number, body]}
                answer = await http.post(url, content=orjson.dumps(event), headers=HEADERS)
                assert answer.status_code == 202, answer.text

        for _ in range(WINDOW):
            group.create_task(post())


def least(people: Sequence[Person], topic: str) -> int:
    """How many events of the topic each of them has at least."""
    return min(len(person.got[topic]) for person in people)


async def read_why(people: Sequence[Reader], heard: Person) -> None:
    """These read on when too much waited for them, and soon enough to be told so."""
    await eventually(lambda: sum(len(BODY) for _ in heard.got[LOUD]) > 2 * (OUTBOX + HELD + SEND_BUFFER))
    for person in people:
        person.read_on()


async def peak_of(gateway: Gateway, over: asyncio.Event) -> int:
    """The most memory it had until then, in bytes."""
    most = gateway.resident()
    while not over.is_set():
        most = max(most, gateway.resident())
        await asyncio.sleep(0.02)
    return most


async def test_those_who_do_not_read_are_bounded_closed_and_come_back(tmp_path: Path) -> None:
    with system(tmp_path, partitions=4, outbox_bytes=OUTBOX, send_buffer=SEND_BUFFER) as made:
        gateway = made.gateways[0]
        slow = [Reader(f"slow{n}", [TOPIC, LOUD], [gateway.port], Random(n)) for n in range(SLOW)]
        healthy = [
            Reader(f"user{n}", [TOPIC] if n else [TOPIC, LOUD], [gateway.port], Random(n))
            for n in range(CLIENTS - SLOW)
        ]
        async with asyncio.timeout(200), gathered([*slow, *healthy]):
            everybody = [*slow, *healthy]
            await post_all(gateway, TOPIC, WARM, BODY, everybody)  # what the node needs to work it has from now on
            await eventually(lambda: least(everybody, TOPIC) == WARM)
            before, over = gateway.resident(), asyncio.Event()
            for person in slow:
                person.stop_reading()
            async with asyncio.TaskGroup() as group:
                peak = group.create_task(peak_of(gateway, over))
                group.create_task(read_why(slow[::2], healthy[0]))
                loud = group.create_task(post_all(gateway, LOUD, EVENTS, BODY, healthy[:1]))
                await post_all(gateway, TOPIC, QUIET, "", healthy)
                await eventually(lambda: least(healthy, TOPIC) == WARM + QUIET)
                await loud
                over.set()
            assert peak.result() - before < SLOW * (OUTBOX + HELD) + ROOM
            for person in slow[1::2]:
                person.read_on()
            for person in slow:
                person.reachable.set()
            await eventually(lambda: all(person.ready.is_set() and person.closes for person in slow))
            await eventually(lambda: least(slow, TOPIC) == WARM + QUIET)
        assert [[code for _, code in person.closes] for person in slow[::2]] == [[SLOW_CODE]] * (SLOW // 2)
        closed = await asyncio.to_thread(gateway.metric, "tocsin_gateway_closed_total", f'"{SLOW_CODE}"')
        assert closed == SLOW
        assert [person.closes for person in healthy if person.closes] == []
        assert [person.user for person in slow if person.told + person.recoveries < 2] == []
        assert [fault for person in everybody for fault in person.faults] == []
