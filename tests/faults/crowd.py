"""Many people with open WebSockets, who come back to another node when they are cut off, and note all that they get.

Lean enough for hundreds in one event loop: a protocol object each, and a task that connects it again.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any

import orjson

from loadtest.frames import Decoder, Opcode, encode, upgrade_request, upgraded
from tests.system import token

INBOX = "inbox"
PAUSE = (0.05, 0.4)
"""Least and most seconds before somebody who was cut off comes back."""
ANSWER = 8.0
"""Seconds until somebody who connects and hears nothing tries again."""
LATE = 3.0
"""Seconds that a ping of the server's may be late."""


@dataclass(slots=True)
class Place:
    """Where somebody stands in a channel."""

    epoch: str
    offset: int


@dataclass(eq=False)
class Person:
    """One device of a user: an inbox and some topics."""

    user: str
    topics: Sequence[str]
    ports: Sequence[int]
    chance: Random
    got: dict[str, list[Any]] = field(default_factory=dict)
    """What the events carried as data, by channel, in the order of arrival."""
    closes: list[tuple[float, int]] = field(default_factory=list)
    """Loop time and code of every connection that a server ended; 0: it was just gone."""
    faults: list[str] = field(default_factory=list)
    """What a server must never say or do."""
    recoveries: int = 0
    """Replies that said that everything missed was there."""
    refused: int = 0
    """Replies with an error that asks to come back."""
    places: dict[str, Place] = field(default_factory=dict)
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while it is subscribed to everything."""
    port: int = 0
    """Where it is connected now, or was last."""
    _id: int = 0
    _asked: dict[int, str] = field(default_factory=dict)
    _link: Link | None = None

    def __post_init__(self) -> None:
        self.got = {channel: [] for channel in (INBOX, *self.topics)}

    async def run(self) -> None:
        """Be connected until cancelled."""
        self.port = self.port or self.chance.choice(self.ports)
        try:
            while True:
                with suppress(OSError):
                    self._link = await self.dial()
                    await self._link.over
                self.ready.clear()
                await asyncio.sleep(self.chance.uniform(*PAUSE))
                self.port = self.chance.choice([p for p in self.ports if p != self.port] or [self.port])
        finally:
            if self._link is not None:
                self._link.drop()

    async def dial(self) -> Link:
        """A new connection to its port. Raises OSError."""
        _, link = await asyncio.get_running_loop().create_connection(lambda: Link(self), "127.0.0.1", self.port)
        return link

    # What a link tells -------------------------------------------------------------------------------------------

    def greet(self) -> list[dict[str, Any]]:
        """The first commands on a connection: everything at once, as the SDKs do."""
        self._asked.clear()
        inbox = {INBOX: self._from(INBOX)} if INBOX in self.places else {}
        first = self._ask("connect", INBOX, {"token": token(self.user), "subs": inbox})
        return [first, *(self._subscribe(topic) for topic in self.topics)]

    def hear(self, said: dict[str, Any]) -> dict[str, Any] | None:
        """Something the server said; what to answer."""
        if not said:
            return {}
        if "id" in said:
            self._on_reply(said)
            return None
        push = said["push"]
        if "pub" in push:
            self.take(push["channel"], push["pub"])
        elif "unsubscribe" in push:
            self.ready.clear()
            return self._subscribe(push["channel"])
        return None

    def _subscribe(self, topic: str) -> dict[str, Any]:
        return self._ask("subscribe", topic, {"channel": topic} | self._from(topic))

    def _ask(self, method: str, channel: str, fields: dict[str, Any]) -> dict[str, Any]:
        self._id += 1
        self._asked[self._id] = channel
        return {"id": self._id, method: fields}

    def _from(self, channel: str) -> dict[str, Any]:
        place = self.places.get(channel)
        return {} if place is None else {"recover": True, "epoch": place.epoch, "offset": place.offset}

    def _on_reply(self, reply: dict[str, Any]) -> None:
        channel = self._asked.pop(reply["id"])
        if "error" in reply:
            self.refused += 1
            if not reply["error"].get("temporary"):
                self.faults.append(f"error {reply['error']}")
            assert self._link is not None
            self._link.drop()
            return
        if "connect" in reply:
            assert self._link is not None
            self._link.expect_pings(reply["connect"].get("ping", 0))
        self.begin(channel, reply["connect"]["subs"][INBOX] if "connect" in reply else reply["subscribe"])
        if not self._asked:
            self.ready.set()

    def begin(self, channel: str, result: dict[str, Any]) -> None:
        """The server said where it stands in a channel."""
        before = self.places.get(channel)
        self.places[channel] = Place(result["epoch"], result["offset"])
        if before is not None:
            self.recoveries += 1
            same = log_of(result["epoch"]) == log_of(before.epoch)
            if not result.get("recovered") or not same or result["offset"] != before.offset:
                self.faults.append(f"not recovered in {channel}")
        for publication in result.get("publications", ()):
            self.take(channel, publication)

    def take(self, channel: str, publication: dict[str, Any]) -> None:
        """A publication came, alone or with a recovery."""
        place = self.places[channel]
        if publication["offset"] != place.offset + 1:
            self.faults.append(f"offset {publication['offset']} after {place.offset} in {channel}")
        place.offset = publication["offset"]
        self.got[channel].append(publication["data"].get("data"))


class Link(asyncio.Protocol):
    """One connection of a person. `over` is done when it has ended."""

    def __init__(self, person: Person) -> None:
        self._person = person
        self._decoder = Decoder()
        self._head = b""
        self._open = False
        self._code = 0
        self._silence = ANSWER
        self._timer: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def drop(self) -> None:
        """End it without a word, as a lost network does; that is no close of the server's."""
        self._open = False
        if self.transport is not None:
            self.transport.abort()

    def expect_pings(self, every: float) -> None:
        """From now on it is over when nothing comes for so long and a bit more, as for the SDKs."""
        self._silence = every + LATE if every else 0.0
        self._listen()

    def _listen(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(self._silence, self.drop) if self._silence else None

    def say(self, *commands: dict[str, Any]) -> None:
        assert self.transport is not None
        self.transport.write(encode(Opcode.TEXT, b"\n".join(map(orjson.dumps, commands))))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._listen()
        transport.write(upgrade_request("127.0.0.1", self._person.port, "/connection/websocket"))

    def data_received(self, data: bytes) -> None:
        self._listen()
        if not self._open:
            self._head += data
            head, end, data = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            if not upgraded(head):
                self.drop()
                return
            self._open = True
            self.say(*self._person.greet())
        for frame in self._decoder.feed(data):
            if frame.opcode is Opcode.TEXT:
                for line in frame.payload.split(b"\n"):
                    if (answer := self._person.hear(orjson.loads(line))) is not None:
                        self.say(answer)
            elif frame.opcode is Opcode.CLOSE:
                self._code = int.from_bytes(frame.payload[:2], "big")
                assert self.transport is not None
                self.transport.write(encode(Opcode.CLOSE, frame.payload[:2]))

    def connection_lost(self, exc: Exception | None) -> None:
        self._silence = 0.0
        self._listen()
        if self._open:
            self._person.closes.append((asyncio.get_running_loop().time(), self._code))
        if not self.over.done():
            self.over.set_result(None)


def log_of(epoch: str) -> str:
    """An epoch without its generation, which is another after Redis was started again or a replica took its place."""
    return re.sub(r"-\d+g[0-9a-f]+$", "", epoch)


@asynccontextmanager
async def coming(*people: Person) -> AsyncIterator[None]:
    """They connect, and come back as often as it takes."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(person.run()) for person in people]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


@asynccontextmanager
async def gathered(people: Sequence[Person]) -> AsyncIterator[None]:
    """All of them are connected and subscribed when the block begins, and come back as often as it takes."""
    async with coming(*people):
        async with asyncio.timeout(30):
            for person in people:
                await person.ready.wait()
        yield


async def eventually(true: Callable[[], object], seconds: float = 30) -> None:
    """Until a condition holds that nothing announces. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # other processes bring it about
            await asyncio.sleep(0.02)
