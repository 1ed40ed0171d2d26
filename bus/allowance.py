"""What a producer may still send, as one process knows it: portions of a bucket that all processes share. Pure.

The bucket is in Redis and goes by Redis's clock (`bus.allowances`). Who would ask there for every request would double
what a request costs, so a process takes a portion ahead and spends it alone. All that is spent was taken out of the
bucket first: over any time, all processes together spend at most the burst, what the rate gives in that time, and the
one portion that each may have held at its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Final

SPAN: Final = 0.1
"""A portion is as much as is spent in about so many seconds, and never more than the rate gives in them."""
LASTS: Final = 1.0
"""After so many seconds what is left of a portion is nobody's."""
ROUNDING: Final = 1e-6
"""Seconds by which a sum of floats may be off: who waited as long as they were told must not be told to wait again."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate`: tokens a second; `burst`: most at once, at least as many as are ever needed together."""

    rate: float
    burst: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Whether the tokens could be had: `wait` is seconds until they can, 0 for now; `remaining`: known to be left."""

    wait: float
    remaining: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Redis has to be asked: for so many at least, for so many gladly."""

    needed: int
    wanted: int


@dataclass(frozen=True, slots=True)
class Told:
    """What spend.lua said; times in seconds from when it was said."""

    taken: int
    wait: float
    full: float
    at: float
    """Unix time, by Redis's clock, at which what was taken is there."""


class Portion:
    """What this process has of one bucket. Times are seconds of a steady clock."""

    __slots__ = ("_ahead", "_asked_at", "_ends", "_full", "_left", "_limit")

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._left = 0
        self._ends = 0.0
        self._full = 0.0
        """When the bucket will be full again, as far as is known: it may be later, never earlier."""
        self._ahead = 0
        """How many are asked for beside those needed."""
        self._asked_at = 0.0

    def take(self, amount: int, now: float) -> Spent | Ask:
        """`amount` tokens, if they are here; a refusal where it is known that they are not in the bucket either."""
        if self._left and now >= self._ends:
            # Half of it at least was of no use: ask for less.
            self._ahead //= 2
            self._left = 0
        if self._left >= amount:
            self._left -= amount
            return Spent(0.0, self._remaining(now))
        needed = amount - self._left
        if (wait := self._wait(needed, now)) > ROUNDING:
            return Spent(wait, self._remaining(now))
        if now - self._asked_at < SPAN:
            self._ahead = min(2 * self._ahead + amount, int(self._limit.rate * SPAN))
        self._asked_at = now
        return Ask(needed, max(needed, min(needed + self._ahead, int(self._limit.burst))))

    def told(self, told: Told, now: float) -> None:
        """Redis answered: what was taken is here now."""
        self._full = max(self._full, now + told.full) if told.taken else now + told.full
        if told.taken:
            self._left += told.taken
            self._ends = now + LASTS

    def _wait(self, needed: int, now: float) -> float:
        """Seconds until the bucket can have so many."""
        limit = self._limit
        return max(self._full, now) - now + (needed - limit.burst) / limit.rate

    def _remaining(self, now: float) -> int:
        owed = max(0.0, self._full - now) * self._limit.rate
        return self._left + max(0, int(self._limit.burst - owed))


def whole_seconds(wait: float) -> int:
    """For Retry-After: 0 for now, else at least 1."""
    return max(1, ceil(wait - 1e-6)) if wait > 0 else 0
