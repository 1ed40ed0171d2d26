"""An event loop whose time stands still while its process does: for tests in which both sides are in that process.

Who is stopped for a second, or waits that long for a core, finds every answer late and every wait over, though nobody
was slow. What a bound on time promises is about who can work; time in which nobody here could is not counted.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Mapping
from typing import Any, Final

LATE: Final = 0.005
"""A wait that took so many seconds longer than it was to was held up."""
STEP: Final = 0.01
"""Of a wait that was held up one half is counted, or so many seconds: what had come by then comes before what is late,
and a machine that is always busy ends a wait all the same."""


class _Watched(selectors.DefaultSelector):
    """A selector that tells how long it was to wait."""

    loop: SteadyLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        self.loop.observe()
        found = super().select(timeout)
        self.loop.waited(timeout)
        return found


class SteadyLoop(asyncio.SelectorEventLoop):
    """Its time is that of the machine without what was lost: between two looks at it only what the process used of a
    core counts, and of a wait not more than it was to take."""

    def __init__(self) -> None:
        self._lost, self._seen, self._used = 0.0, time.monotonic(), time.process_time()
        selector = _Watched()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.observe()

    def observe(self) -> float:
        """The time now, when the process was not waiting."""
        now, used = time.monotonic(), time.process_time()
        self._lost += max(0.0, now - self._seen - (used - self._used))
        self._seen, self._used = now, used
        return now - self._lost

    def waited(self, timeout: float | None) -> None:
        """A wait is over that was to take so long at most; None: until something came."""
        now = time.monotonic()
        waited = now - self._seen
        if timeout is not None and waited > max(0.0, timeout) + LATE:
            self._lost += waited - min(max(0.0, timeout), max(STEP, timeout / 2))
        self._seen, self._used = now, time.process_time()


def loops_for(steady: bool) -> Mapping[str, type[asyncio.SelectorEventLoop]]:
    """What the tests of a file run on."""
    return {"steady": SteadyLoop} if steady else {"asyncio": asyncio.SelectorEventLoop}
