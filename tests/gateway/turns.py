"""For what is done in turns of the loop: a clock that stands still, and counting the turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class SlowClock:
    """Moves only when whoever is timed says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


async def until(check: Callable[[], bool]) -> int:
    """How many turns of the loop it took."""
    async with asyncio.timeout(30):
        turns = 0
        while not check():
            await asyncio.sleep(0)
            turns += 1
        return turns
