"""What ladder tests stand on: a publisher and the owner of every partition, worked step by step on a real Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson

from bus.clock import SystemClock
from bus.event import Event, Step
from bus.keys import Keys, escape
from bus.lease import Lease, Leases
from bus.namespaces import Namespaces
from bus.people.categories import Categories
from bus.pipe import Pipe
from bus.trail import Trace, decode
from fanout.alarm import Alarm
from fanout.audience import Retention, Rules
from fanout.graves import Graves
from fanout.job import Job, from_fields
from fanout.ladder.due import Due
from fanout.ladder.steps import Steps
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.settings import FanoutSettings
from fanout.stats import Stats
from tests.conftest import open_pipe

PUSH = Step("push", 30, "acked")
MAIL = Step("email", 600, "read")
LADDER = (Step("live"), PUSH, MAIL)
SOON = 4_000_000_000_000
"""A time, in milliseconds, that has not come."""


class Ladder:
    """One installation; alice lives in partition `p` with all whom `others` names."""

    def __init__(self, pipe: Pipe, keys: Keys, categories: Mapping[str, Any]) -> None:
        self.pipe, self.keys, self.ask = pipe, keys, pipe.ask
        self.p = keys.partition("@alice")
        self.stats, clock = Stats(), SystemClock()
        self.rules = Rules(keys, Namespaces({}), Retention(1_000, 3_600), Categories(categories))
        self.alarm = Alarm(pipe, keys, "w")
        graves = Graves(clock, 60)
        self.publisher = Publisher(pipe, self.rules, FanoutSettings(), graves, clock, self.stats, self.alarm.ring)
        self.steps = Steps(pipe, keys, self.rules.categories, zone="UTC", ttl=3_600, dead=100, stats=self.stats)
        self.lease = Lease(self.p, "w", 1)

    async def own(self, owner: str = "w") -> Lease:
        """Take alice's partition from whoever has it."""
        await self.ask("DEL", self.keys.lease(self.p))
        held = (await Leases(self.pipe, self.keys, owner, 600).hold([self.p]))[self.p]
        assert held is not None
        self.lease = held
        return held

    async def reachable(self, user: str = "alice", *devices: str) -> None:
        """An e-mail address, and devices."""
        await self.ask("HSET", self.keys.profile(user), "email", "sealed", "timezone", "Europe/Berlin")
        for device in devices:
            doc = {"provider": "fcm", "target": "sealed", "state": "active"}
            await self.ask("HSET", self.keys.devices(user), device, orjson.dumps(doc))

    async def prefer(self, user: str, doc: Mapping[str, Any], **live: str) -> None:
        """What a person chose; `live`: fields beside the document."""
        flat = [part for name, value in live.items() for part in (f"live:{name.replace('all', '*')}", value)]
        await self.ask("HSET", self.keys.preferences(user), "doc", orjson.dumps(doc), *flat)

    async def publish(self, name: str = "1", *users: str, ladder: tuple[Step, ...] | None = LADDER, **more: Any) -> str:
        """Give an event to alice, or to these; its reference."""
        event = Event(name, "shop", "x", 0.0, users=users or ("alice",), ladder=ladder, title=name, **more)
        (outcome,) = await self.publisher.publish([Current(event, SOON / 1000)])
        assert outcome.__class__.__name__ == "Done", outcome
        return event.ref

    async def timers(self) -> list[tuple[str, int]]:
        """All timers with their times, the earliest first."""
        flat = await self.ask("ZRANGE", self.keys.timers(self.p), 0, -1, "WITHSCORES")
        return [(flat[i].decode(errors="surrogateescape"), int(flat[i + 1])) for i in range(0, len(flat), 2)]

    async def waits(self) -> list[tuple[str, float]]:
        """The steps and digests that wait, and for how many seconds from now."""
        seconds, micro = map(int, await self.ask("TIME"))
        return [(timer, round(at / 1000 - seconds - micro / 1e6, 1)) for timer, at in await self.timers()]

    async def time_passes(self) -> None:
        """All that waits is due."""
        for timer in await self.ask("ZRANGE", self.keys.timers(self.p), 0, -1):
            await self.ask("ZADD", self.keys.timers(self.p), "XX", 1, timer)

    async def look(self) -> Due:
        return await self.steps.look(self.lease)

    async def turn(self) -> int:
        """Let all be due, and work it once; how many timers were committed."""
        await self.time_passes()
        due = await self.look()
        return await self.steps.take(self.lease, due)

    async def jobs(self, channel: str) -> list[Job]:
        found = [
            from_fields(_named(flat)) for _, flat in await self.ask("XRANGE", self.keys.jobs(self.p, channel), "-", "+")
        ]
        assert None not in found
        return [job for job in found if job is not None]

    async def trail(self, user: str = "alice") -> list[tuple[str, str, str]]:
        """Kind, channel, reason."""
        entries = await self.ask("XRANGE", self.keys.trail(user), "-", "+")
        traces = [decode(entry, flat) for entry, flat in entries]
        assert all(isinstance(trace, Trace) for trace in traces)
        return [(str(trace.kind), trace.channel, trace.reason) for trace in traces if trace is not None]

    async def counts(self, ref: str) -> dict[str, int]:
        flat = await self.ask("HGETALL", self.keys.counts(self.p, ref))
        return {flat[i].decode(): int(flat[i + 1]) for i in range(0, len(flat), 2)}

    async def read(self, user: str, *offsets: int) -> None:
        """As inbox_change.lua does it."""
        await self.ask("ZREM", self.keys.unread(user), *offsets)
        if not await self.ask("EXISTS", self.keys.unread(user)):
            await self.ask("HDEL", self.keys.meta(f"@{user}"), "kept")

    async def acked(self, user: str, ranges: str) -> None:
        await self.ask("HSET", self.keys.meta(f"@{user}"), "acked", ranges)

    async def withdraw(self, ref: str) -> None:
        await self.ask("SET", self.keys.withdrawn(self.p, ref), "1")

    def neighbours(self, count: int) -> list[str]:
        """Other people of alice's partition."""
        names = (f"bob{n}" for n in range(100_000))
        found = (name for name in names if self.keys.partition(f"@{name}") == self.p)
        return [next(found) for _ in range(count)]

    async def online(self, user: str, *, node: str = "n1", ago: float = 0.0) -> None:
        """A connection on a node, last refreshed so many seconds ago."""
        seconds = int((await self.ask("TIME"))[0])
        await self.ask("HSET", self.keys.routes(f"@{user}"), node, int((seconds - ago) * 1000))


def _named(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def step(ref: str, user: str, index: int) -> str:
    """A step's timer, spelled out."""
    return f"step\n{escape(ref)}\n{escape(user)}\n{index}"


@asynccontextmanager
async def ladder_on(url: str, keys: Keys, **categories: Any) -> AsyncIterator[Ladder]:
    """A ladder that owns alice's partition."""
    async with open_pipe(url) as pipe:
        made = Ladder(pipe, keys, categories)
        await made.own()
        yield made
