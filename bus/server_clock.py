"""Redis's clock, looked at now and then and carried on by our own monotonic one.

What a worker compares with the times that Redis notes (when an event was accepted, when it is due or over) must go by
the clock that noted them: a machine whose clock is an hour ahead would else take events for over that just came.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe

EVERY: Final = 5.0
"""Seconds between two looks: another server may have taken over, or its clock been set."""


class ServerClock:
    """A `Clock`. Until Redis was asked for the first time, the machine's own."""

    def __init__(self, own: Clock, pipe: Pipe, keys: Keys) -> None:
        self._own, self._pipe, self._keys = own, pipe, keys
        self._ahead: float | None = None
        """By how much Redis's time is more than our monotonic clock says."""

    def monotonic(self) -> float:
        """Our own."""
        return self._own.monotonic()

    def wall(self) -> float:
        """Redis's, to a few milliseconds."""
        return self._own.wall() if self._ahead is None else self._own.monotonic() + self._ahead

    async def look(self) -> None:
        """Ask Redis. Raises `BusError`."""
        found = await self._pipe.script("time", (self._keys.nodes,), ())
        self._ahead = found / 1000 - self._own.monotonic()

    async def run(self) -> None:
        """Look again and again, for ever; while Redis is away the clock goes on."""
        while True:
            with suppress(BusError):
                await self.look()
            await asyncio.sleep(EVERY)
