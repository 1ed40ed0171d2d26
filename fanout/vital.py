"""Whether a worker does its work: its commands come back from Redis, and its heartbeats are in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe

EVERY: Final = 1.0
"""Seconds between two round trips of their own."""
STALE: Final = 3.0
"""So old may the newest of them be."""


class Vital:
    """`run` asks Redis once a second, so that `shown` costs nothing however often it is asked.

    `silence` says how many seconds ago the last heartbeat succeeded, `ttl` after how many the others take us for dead.
    """

    def __init__(self, pipe: Pipe, keys: Keys, clock: Clock, silence: Callable[[], float], ttl: float) -> None:
        self._pipe, self._keys, self._clock, self._silence, self._ttl = pipe, keys, clock, silence, ttl
        self._begun = clock.monotonic()
        self._proved: float | None = None

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            sent = self._clock.monotonic()
            try:
                await self._pipe.ask("EXISTS", self._keys.installation)
            except BusError:
                await asyncio.sleep(EVERY / 10)
                continue
            self._proved = sent
            await asyncio.sleep(EVERY)

    def shown(self) -> tuple[bool, dict[str, Any]]:
        """Whether it is ready, and what that rests on. Seconds."""
        now = self._clock.monotonic()
        seconds, silence = now - (self._begun if self._proved is None else self._proved), self._silence()
        ready = self._proved is not None and seconds < STALE and silence < self._ttl
        state = "healthy" if ready else "stale"
        return ready, {"state": state, "seconds": round(seconds, 1), "heartbeat": round(silence, 1)}
