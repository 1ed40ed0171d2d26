"""Events for later: kept in the partition's `timers`, and moved back to its ingest stream by its owner when due.

Redis's clock decides, so workers with different clocks agree, and a worker that comes late finds what is overdue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bus.consumer import blame
from bus.errors import BusError, Refused
from bus.keys import Keys
from bus.lease import Fenced, Lease
from bus.outcome import Done, Outcome
from bus.pipe import Call, Pipe

BATCH: Final = 50
LONGEST_WAIT: Final = 5.0
"""Redis's clock may be set while we wait, and a call to wake us may be lost with its caller."""
OUTAGE: Final = 0.5
NOTED: Final = 86_400_000
"""How long it is known of a scheduled event, after its time is over, that there was one; in milliseconds."""


@dataclass(frozen=True, slots=True)
class Later:
    """An entry whose event is due at Unix time `at` and over at `over`; `origin`: id of the entry it first came in."""

    at: float
    origin: str
    fields: Mapping[bytes, bytes]
    ref: str
    over: float

    @property
    def member(self) -> bytes:
        """What stands for it in the sorted set; the same however often it is put there."""
        producer = self.fields.get(b"p", b"").replace(b"\n", b" ")
        return b"\n".join((b"event", self.origin.encode(), producer, self.fields[b"e"]))


class Timers:
    """The timers of one leased partition."""

    def __init__(self, pipe: Pipe, keys: Keys, lease: Lease) -> None:
        self._pipe, self._lease, self._names = pipe, lease, keys
        p = lease.partition
        self._key = keys.timers(p)
        self._keys = (keys.lease(p), keys.events(p), self._key)
        self._changed = asyncio.Event()

    async def put_off(self, events: Sequence[Later]) -> list[Outcome]:
        """Keep events until they are due, but for those that were withdrawn; an outcome for each."""
        replies = await self._pipe.scripts(self._put_off(event) for event in events)
        self._changed.set()
        return [blame(reply) if isinstance(reply, BusError) else Done() for reply in replies]

    def _put_off(self, event: Later) -> Call:
        p, over = self._lease.partition, round(event.over * 1000)
        names = (self._key, self._names.withdrawn(p, event.ref), self._names.body(p, event.ref))
        return "put_off", names, (round(event.at * 1000), event.member, event.origin, over, NOTED)

    def wake(self) -> None:
        """Look now: something may be due earlier than was known."""
        self._changed.set()

    async def run(self) -> None:
        """Move what is due, for ever. Raises `Fenced` when the lease is over."""
        while True:
            self._changed.clear()
            wait = await self._move()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def _move(self) -> float:
        """Move what is due, and say how many seconds there are until the next."""
        fence = (self._lease.owner, self._lease.fence)
        try:
            while (left := await self._pipe.script("due", self._keys, (*fence, BATCH))) == 0:
                pass
        except Refused as error:
            if error.code == "FENCED":
                raise Fenced(f"partition {self._lease.partition}") from None
            return OUTAGE
        except BusError:
            return OUTAGE
        return LONGEST_WAIT if left < 0 else min(LONGEST_WAIT, left / 1000)
