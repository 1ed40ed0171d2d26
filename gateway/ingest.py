"""Ingest: the one place in the gateway that appends events to the bus.

An event is appended once and never again on our own account: when Redis goes away before it answers, nobody knows
whether it was appended, and the caller is told so. Under an Idempotency-Key each event leaves a marker in the same
step as its entry, so the same request may be made again, by anyone and after any crash, without a second effect.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from hashlib import sha256
from typing import Final

import orjson

from bus.clock import Clock
from bus.codec import CHARGED, encode_entry
from bus.errors import BusDown, BusError, Overloaded
from bus.event import MAX_EVENT_BYTES, Event, Invalid, parse
from bus.keys import Keys
from bus.pipe import Arg, OnReply, Pipe, Reply
from bus.scripts import load
from bus.settings import BadSetting
from gateway.durable import Durable
from gateway.pressure import Pressure

log = logging.getLogger(__name__)

CLIENT: Final = "tocsin"
"""Producer of what clients publish; no API key may have this name, for it admits the system's own types."""
LEASE: Final = 10.0
"""How long a request with an Idempotency-Key may be in progress before another may finish it, in seconds."""
REMEMBERED: Final = 24 * 3600
"""How long an Idempotency-Key is remembered, in seconds."""


class Durability(Enum):
    """When an event is accepted: once Redis has it, or once replicas of it have it too."""

    STORED = "stored"
    REPLICATED = "replicated"


@dataclass(frozen=True, slots=True)
class Position:
    """Where an accepted event is: its partition and its entry's id there."""

    partition: int
    id: str


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The event, as it would be stored, is over `MAX_EVENT_BYTES`."""


Accepted = Position | TooLarge | BusError
"""What became of one event; after a `BusDown` it may or may not have been appended."""
OnAccepted = Callable[[Accepted], None]


@dataclass(frozen=True, slots=True)
class IdempotentRequest:
    """What makes two requests one: the same producer, route and key. `fingerprint` stands for the body."""

    producer: str
    route: str
    key: str
    fingerprint: str

    @property
    def digest(self) -> str:
        """Its identity as 64 hex digits; injective up to the hash, for JSON keeps the parts apart."""
        return sha256(orjson.dumps((self.producer, self.route, self.key))).hexdigest()

    def event_id(self, index: int) -> str:
        """Id of its event number `index`: the same whenever the request is made."""
        return sha256(f"{self.digest}.{index}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class New:
    """Nobody works on this request; the caller now does."""


@dataclass(frozen=True, slots=True)
class Busy:
    """It is in progress elsewhere."""


@dataclass(frozen=True, slots=True)
class OtherBody:
    """The key came before with another body."""


@dataclass(frozen=True, slots=True)
class Answered:
    """It was answered before, with this."""

    answer: bytes


Begun = New | Busy | OtherBody | Answered


@dataclass(slots=True)
class IngestStats:
    """Counters of one node's ingest; they only rise."""

    accepted: Counter[str] = field(default_factory=Counter)
    """By producer."""
    failed: Counter[str] = field(default_factory=Counter)
    """Appends that Redis refused or did not answer, by error."""
    replayed: int = 0
    """Requests answered from their Idempotency-Key."""


class Ingest:
    """Appends events. `lease` and `remembered` are seconds; `durable` is what waits for replicas, `durability` whether
    that is done unless a request says otherwise."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        clock: Clock,
        *,
        lease: float = LEASE,
        remembered: int = REMEMBERED,
        durable: Durable | None = None,
        durability: Durability = Durability.STORED,
    ) -> None:
        self._pipe, self._durable, self.durability = pipe, durable, durability
        self._keys = keys
        self._clock = clock
        self._lease = lease
        self._remembered = remembered
        self.stats = IngestStats()
        self.pressure = Pressure()
        """Whether more may be taken in; whoever composes the node keeps it up to date."""

    def read(self, raw: object, *, producer: str, default_id: str) -> Event | Invalid:
        """Decoded JSON to an event of that producer, or every fault of it."""
        return parse(raw, default_id=default_id, default_source=producer, now=self._clock.wall())

    def post(
        self, event: Event, producer: str, on_accepted: OnAccepted, *, durability: Durability | None = None
    ) -> None:
        """Append one event; `on_accepted` is called with what became of it, never before this returns."""
        partition = self._keys.partition(event.ordering_key)
        entry = _entry(event, producer)
        if isinstance(entry, TooLarge):
            asyncio.get_running_loop().call_soon(on_accepted, entry)
            return
        if self.pressure.refuses(partition):
            asyncio.get_running_loop().call_soon(on_accepted, self.refused())
            return
        events = self._keys.events(partition)
        command: tuple[Arg, ...] = ("XADD", events, "*", *entry)
        self._send(events, command, self._counted(event.id, producer, partition, on_accepted), durability)

    def refused(self) -> Overloaded:
        """Count a refusal because of pressure."""
        self.stats.failed["overload"] += 1
        return Overloaded("more waits than can be taken in")

    def _send(self, key: str, command: tuple[Arg, ...], on_reply: OnReply, durability: Durability | None) -> None:
        if (durability or self.durability) is Durability.STORED:
            self._pipe.post(command, on_reply)
        elif self._durable is not None:
            self._durable.post(key, command, on_reply)
        else:
            asyncio.get_running_loop().call_soon(on_reply, BusDown("no connection that waits for replicas"))

    async def accept(
        self, events: Sequence[Event], producer: str, durability: Durability | None = None
    ) -> list[Accepted]:
        """Append events in this order, all in one go, and say what became of each. Raises nothing."""
        return await _all([partial(self.post, event, producer, durability=durability) for event in events])

    def _counted(
        self, event_id: str, producer: str, partition: int, on_accepted: OnAccepted
    ) -> Callable[[Reply], None]:
        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                self.stats.failed[error_name(reply)] += 1
                on_accepted(reply)
            else:
                self.stats.accepted[producer] += 1
                if log.isEnabledFor(logging.DEBUG):
                    log.debug(
                        "accepted",
                        extra={
                            "event": event_id,
                            "producer": producer,
                            "partition": partition,
                            "position": reply.decode(),
                        },
                    )
                on_accepted(Position(partition, reply.decode()))

        return answered

    # Under an Idempotency-Key ------------------------------------------------------------------------------------

    async def begin(self, request: IdempotentRequest) -> Begun:
        """Ask for the right to work on a request. Raises `BusError`."""
        keys = [self._keys.idempotency(request.digest)]
        args: list[Arg] = [request.fingerprint, int(self._lease * 1000), self._remembered]
        state, *rest = await self._pipe.script("idempotency_begin", keys, args)
        match state:
            case b"new":
                return New()
            case b"busy":
                return Busy()
            case b"other":
                return OtherBody()
            case _:
                self.stats.replayed += 1
                return Answered(rest[0])

    def refuses(self, events: Iterable[Event]) -> bool:
        """Whether one of these would be told to come again later."""
        return any(self.pressure.refuses(self._keys.partition(event.ordering_key)) for event in events)

    async def remembered(self, request: IdempotentRequest) -> Answered | OtherBody | None:
        """What a request was answered before, without beginning it. Raises `BusError`."""
        key = self._keys.idempotency(request.digest)
        fingerprint, answer = await self._pipe.ask("HMGET", key, "fingerprint", "answer")
        if fingerprint is not None and fingerprint.decode() != request.fingerprint:
            return OtherBody()
        if answer is None:
            return None
        self.stats.replayed += 1
        return Answered(answer)

    async def accept_once(
        self,
        request: IdempotentRequest,
        events: Iterable[tuple[int, Event]],
        producer: str,
        durability: Durability | None = None,
    ) -> list[Accepted]:
        """Like `accept`, but an event that this request appended before keeps its first position.

        `events` are pairs of the event's index within the request and the event. Raises nothing.
        """
        return await _all(
            [
                partial(self._post_once, f"{request.digest}.{index}", event, producer, durability)
                for index, event in events
            ]
        )

    def _post_once(
        self, marker: str, event: Event, producer: str, durability: Durability | None, on_accepted: OnAccepted
    ) -> None:
        partition = self._keys.partition(event.ordering_key)
        entry = _entry(event, producer)
        if isinstance(entry, TooLarge):
            asyncio.get_running_loop().call_soon(on_accepted, entry)
            return
        if self.pressure.refuses(partition):
            asyncio.get_running_loop().call_soon(on_accepted, self.refused())
            return
        keys = [self._keys.events(partition), self._keys.accepted(partition, marker)]
        counted = self._counted(event.id, producer, partition, on_accepted)

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                counted(reply)
            elif reply[1]:
                counted(reply[0])
            else:
                on_accepted(Position(partition, reply[0].decode()))

        command: tuple[Arg, ...] = ("EVALSHA", load("accept").sha, len(keys), *keys, self._remembered, *entry)
        # Also of an event that was appended before: WAIT asks for all that the server has by then.
        self._send(keys[0], command, answered, durability)

    async def finish(self, request: IdempotentRequest, answer: bytes) -> None:
        """Keep the answer, so that a repeat is given it too. Raises `BusError`."""
        keys = [self._keys.idempotency(request.digest)]
        await self._pipe.script("idempotency_finish", keys, [request.fingerprint, answer, self._remembered])


def durability_in(setting: str) -> Durability:
    """What the setting of this name says. Raises `BadSetting`."""
    names = [each.value for each in Durability]
    if setting not in names:
        raise BadSetting(f"durability must be {' or '.join(names)}")
    return Durability(setting)


def error_name(error: BusError) -> str:
    """A short name of a bus error for counters and logs: the class, or the code with which Redis refused."""
    return getattr(error, "code", type(error).__name__)


def _entry(event: Event, producer: str) -> list[Arg] | TooLarge:
    fields = encode_entry(event, producer)
    if len(fields["e"]) > MAX_EVENT_BYTES:
        return TooLarge()
    return [*(part for pair in fields.items() for part in pair), CHARGED, b"1"]


async def _all(posts: Sequence[Callable[[OnAccepted], None]]) -> list[Accepted]:
    """Send them all, then wait for the last answer; the answers in the order of the posts."""
    answers: list[Accepted] = [BusDown("not answered")] * len(posts)
    missing = len(posts)
    complete = asyncio.get_running_loop().create_future()

    def place(index: int, answer: Accepted) -> None:
        nonlocal missing
        answers[index] = answer
        missing -= 1
        if not missing and not complete.done():
            complete.set_result(None)

    for index, post in enumerate(posts):
        post(partial(place, index))
    if posts:
        await complete
    return answers
