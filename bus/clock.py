"""The clocks, as arguments: nothing else in the system reads the time."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds, two kinds: `monotonic` for waits and ages, `wall` (Unix time) for what people and tokens mean."""

    def monotonic(self) -> float: ...
    def wall(self) -> float: ...


class SystemClock:
    """The machine's clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
