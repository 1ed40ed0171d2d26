"""Takes a withdrawn event back from all who were given it in a partition: people are told, steps cancelled, pushes
replaced.

The event is refused everywhere by then (its mark was set first), so nobody is added while this walks. Every step can be
repeated: whoever was told is noted, and a second replacement of a push replaces nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Final

import orjson

from bus.clock import Clock
from bus.codec import iso
from bus.errors import BusError, Refused
from bus.event import Event
from bus.keys import INBOX, Keys, escape
from bus.outcome import Done, Outcome
from bus.pipe import Arg, Pipe, Reply
from bus.trail import SIZE, Kind, decode
from fanout.job import Job, delivery_id
from fanout.job import Kind as JobKind
from fanout.ladder.due import reachable
from fanout.ladder.rungs import decode_ladder
from fanout.plan import STATE, Current, Delivery
from fanout.publisher import Publisher
from fanout.settings import FanoutSettings

CHUNK: Final = 50
"""People per script call: some milliseconds of Redis's time."""
SCAN: Final = 500
PAGE: Final = 500
"""Entries of a trail looked at per call."""
OUT: Final = frozenset((Kind.SENT, Kind.DELIVERED))
"""What a trail says of a push that is out."""
WORTH: Final = 86_400.0
"""How long it is worth trying to take a push back, in seconds."""
PUSHES_OUT: Final = tuple(f"push:{kind}" for kind in sorted(OUT))


class Withdrawal:
    """Withdrawals in one partition."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        partition: int,
        publisher: Publisher,
        settings: FanoutSettings,
        clock: Clock,
    ) -> None:
        self._pipe, self._keys, self._partition = pipe, keys, partition
        self._publisher, self._settings, self._clock = publisher, settings, clock

    async def walk(self, ref: str, turns: asyncio.Semaphore) -> Outcome:
        """Tell everybody who has it, each step in a turn. Raises `BusError`; what was done is not done again."""
        keys, p = self._keys, self._partition
        ladder = decode_ladder(await self._pipe.ask("HGET", keys.body(p, ref), "l") or b"[]")
        pushed = any(await self._pipe.ask("HMGET", keys.counts(p, ref), *PUSHES_OUT))
        vias = " ".join(step.via for step in ladder)
        cursor: bytes | str = b"0"
        while True:
            cursor, flat = await self._pipe.ask("HSCAN", keys.seen(p, ref), cursor, "COUNT", SCAN)
            given = {name.decode(): int(offset) for name, offset in zip(flat[::2], flat[1::2], strict=True)}
            async with turns:
                outcome = await self._take_back(ref, given, vias, pushed)
            if cursor == b"0" or not isinstance(outcome, Done):
                return outcome

    async def _take_back(self, ref: str, given: dict[str, int], vias: str, pushed: bool) -> Outcome:
        people = [name for name in given if name.startswith(INBOX)]
        for start in range(0, len(people), CHUNK):
            some = people[start : start + CHUNK]
            if pushed:
                await self._replace_pushes(ref, [name.removeprefix(INBOX) for name in some])
            await self._recall(ref, [(name, given[name]) for name in some], vias)
        for topic in given.keys() - set(people):
            if isinstance(outcome := await self._tell_topic(ref, topic, given[topic]), Done):
                continue
            return outcome
        return Done()

    # People ------------------------------------------------------------------------------------------------------

    async def _recall(self, ref: str, people: Sequence[tuple[str, int]], vias: str) -> None:
        keys, p, settings = self._keys, self._partition, self._settings
        names = [keys.seen(p, _told(ref)), keys.counts(p, ref), keys.timers(p)]
        args: list[Arg] = [escape(ref), settings.dedupe_ttl, keys.body_prefix(p), iso(self._clock.wall())]
        args += [settings.inbox_ttl, settings.inbox_size, SIZE, vias]
        for inbox, offset in people:
            user = inbox.removeprefix(INBOX)
            names += [keys.log(inbox), keys.meta(inbox), keys.routes(inbox)]
            names += [keys.unread(user), keys.archived(user), keys.trail(user)]
            args += [inbox, escape(user), offset, _state_id(ref, inbox)]
        told = await self._pipe.script("recall", names, args)
        pairs = zip(people, told, strict=True)
        await self._publisher.tell([entry for (inbox, _), reply in pairs for entry in _deliveries(inbox, reply)])

    async def _replace_pushes(self, ref: str, users: Sequence[str]) -> None:
        """Jobs that put nothing in the place of pushes that are out. One under way now replaces itself when settled."""
        keys, now = self._keys, self._clock.wall()
        out = [user for user in users if await self._is_out(ref, user)]
        replies = await self._pipe.asks([("HGETALL", keys.devices(user)) for user in out]) if out else []
        found = [() if _unusable(reply) else reply for reply in _raised(replies)]
        jobs = [
            Job(delivery_id(ref, user, "push", device, JobKind.WITHDRAW), ref, user, target=device,
                kind=JobKind.WITHDRAW, expires_at=now + WORTH)
            for user, flat in zip(out, found, strict=True)
            for device in reachable(flat)
        ]  # fmt: skip
        adding = [("XADD", keys.jobs(self._partition, "push"), "*", *job.fields()) for job in jobs]
        for reply in await self._pipe.asks(adding) if adding else ():
            if isinstance(reply, BusError):
                raise reply

    async def _is_out(self, ref: str, user: str) -> bool:
        """Whether a push of the event was sent to the person."""
        back: bytes | str = "+"
        while True:
            try:
                last, *found = await self._pipe.script("trail", (self._keys.trail(user),), (escape(ref), back, PAGE))
            except Refused as error:
                if _unusable(error):
                    return False
                raise
            traces = (decode(entry_id, flat) for entry_id, flat in found)
            if any(trace is not None and trace.channel == "push" and trace.kind in OUT for trace in traces):
                return True
            if not last:
                return False
            back = b"(" + last

    # Topics ------------------------------------------------------------------------------------------------------

    async def _tell_topic(self, ref: str, topic: str, offset: int) -> Outcome:
        """Whoever listens to a topic is told as if by an event of its own."""
        now = self._clock.wall()
        id, data = _state_id(ref, topic), {"withdrawn": [offset]}
        state = Event(id=id, source="tocsin", type=STATE, created_at=now, topics=(topic,), data=data)
        (outcome,) = await self._publisher.publish([Current(state, now + state.ttl)])
        return outcome


def _unusable(reply: Reply) -> bool:
    """Whether a key of one person's is of another type: their own trouble, and nobody else's."""
    return isinstance(reply, Refused) and reply.code == "WRONGTYPE"


def _raised(replies: Sequence[Reply]) -> Sequence[Reply]:
    """The replies. Raises the first `BusError` among them that is everybody's."""
    for reply in replies:
        if isinstance(reply, BusError) and not _unusable(reply):
            raise reply
    return replies


def _told(ref: str) -> str:
    """Where it is noted who was told; no event has a reference like this."""
    return f"tocsin/{ref}"


def _state_id(ref: str, topic: str) -> str:
    """The id of what tells a topic or inbox: the same when it is told again."""
    return blake2b(f"{ref}\0{topic}".encode(), digest_size=16).hexdigest()


def _deliveries(inbox: str, reply: Sequence[Reply]) -> list[Delivery]:
    """What goes to the nodes of one person, of what recall.lua answered."""
    if not reply:
        return []
    offset, epoch, publication, *nodes = reply
    listed = orjson.dumps([(inbox.removeprefix(INBOX), offset, epoch.decode())])
    fields: tuple[Arg, ...] = ("k", "u", "u", listed, "b", publication)
    return [Delivery(node.decode(), fields, (inbox,)) for node in nodes]
