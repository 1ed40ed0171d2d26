"""What is for later: kept in the partition's `timers`, and worked by its owner when due.

Scheduled events go back to the ingest stream, steps of ladders and digests become jobs. Redis's clock decides, so
workers with different clocks agree, and a worker that comes late finds what is overdue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from bus.clock import Clock
from bus.consumer import blame
from bus.errors import BusError
from bus.keys import Keys
from bus.lease import Lease
from bus.outcome import Done, Outcome
from bus.pipe import Call, Pipe, Reply
from fanout.ladder.steps import Steps
from fanout.look import Later

LONGEST_WAIT: Final = 5.0
"""Seconds between two rounds: Redis's clock may be set while we wait, and a call to wake us be lost with its caller."""
OUTAGE: Final = 0.5
SECOND_LOOK: Final = 0.01
"""How soon we look again, in seconds, where everything due had changed before it was worked."""
NOTED: Final = 86_400_000
"""How long it is known of a scheduled event, after its time is over, that there was one; in milliseconds."""


class Timers:
    """The timers of one leased partition."""

    def __init__(self, pipe: Pipe, keys: Keys, lease: Lease, steps: Steps) -> None:
        self._pipe, self._keys, self._lease, self._steps = pipe, keys, lease, steps
        self._changed = asyncio.Event()

    async def put_off(self, events: Sequence[Later]) -> list[Outcome]:
        """Keep events until they are due, but for those that were withdrawn; an outcome for each."""
        replies = await self._pipe.scripts(self._put_off(event) for event in events)
        self._changed.set()
        return [blame(reply) if isinstance(reply, BusError) else Done() for reply in replies]

    def _put_off(self, event: Later) -> Call:
        keys, p, over = self._keys, self._lease.partition, round(event.over * 1000)
        names = (keys.timers(p), keys.withdrawn(p, event.ref), keys.body(p, event.ref))
        return "put_off", names, (round(event.at * 1000), event.member, event.origin, over, NOTED)

    def wake(self) -> None:
        """Look now: something may be due earlier than was known."""
        self._changed.set()

    async def run(self) -> None:
        """Work what is due, for ever. Raises `Fenced` when the lease is over."""
        while True:
            self._changed.clear()
            if (wait := await self._work()) != 0.0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()

    async def _work(self) -> float | None:
        """Work some of what is due, and say how many seconds there are until the next, None when there is none."""
        try:
            due = await self._steps.look(self._lease)
            if not due.items:
                return due.wait
            return 0.0 if await self._steps.take(self._lease, due) else SECOND_LOOK
        except BusError:
            return OUTAGE


async def rounds(pipe: Pipe, keys: Keys, held: Callable[[], Mapping[int, Timers]], clock: Clock) -> None:
    """Wake all those `held` by partition that have something due before the next round, for ever. `clock`: Redis's.

    What is asked of all together costs a tenth of what it costs each of them to look by itself, and most have nothing.
    """

    def told(timers: Timers, reply: Reply) -> None:
        # Who looks a little early sleeps until the very moment; the next round would come after it.
        if isinstance(reply, list) and reply and float(reply[1]) <= (clock.wall() + LONGEST_WAIT) * 1000:
            timers.wake()

    while True:
        await asyncio.sleep(LONGEST_WAIT)
        for partition, timers in held().items():
            pipe.post(("ZRANGE", keys.timers(partition), 0, 0, "WITHSCORES"), partial(told, timers))
