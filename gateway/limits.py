"""How often and how many: rates whose state is one number, and counts per key that vanish at zero. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

ROUNDING: Final = 1e-9
"""Seconds by which a sum of floats may be off: who waited as long as they were told must not be told to wait again."""
LONGEST_SPREAD: Final = 30.0
"""Seconds over which those who are sent away are spread at most."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `per_second` on average over `window` seconds; a burst may use up the window at once.

    The state of each thing limited is one float, its `debt`: the monotonic time at which all it spent is paid back
    (the generic cell rate algorithm of ATM Forum TM 4.0). It starts as 0.0.
    """

    per_second: float
    window: float = 2.0

    def spend(self, debt: float, now: float, cost: int = 1) -> float | None:
        """The debt after `cost` more at `now`; None, and nothing is spent, if that is too fast."""
        debt = max(debt, now) + cost / self.per_second
        return debt if debt - now <= self.window + ROUNDING else None


class Herd:
    """How many may come in a second, and when those who are sent away should come again: spread over as long as it
    takes to let them all in, or they would come together again. 0 a second is no limit."""

    __slots__ = ("_debt", "_per_second", "_rate", "_refused", "_since")

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._rate = Rate(per_second, 1.0) if per_second else None
        self._debt = self._since = 0.0
        self._refused = 0

    def admit(self, now: float) -> bool:
        """Whether one more may come in at `now`."""
        if self._rate is None:
            return True
        debt = self._rate.spend(self._debt, now)
        if debt is None:
            if now - self._since > LONGEST_SPREAD:
                self._since, self._refused = now, 0
            self._refused += 1
            return False
        self._debt = debt
        return True

    def again(self, chance: float) -> int:
        """Seconds after which the one just sent away should come again; `chance` is a random number from 0 to 1."""
        most = min(LONGEST_SPREAD, 1 + self._refused / self._per_second) if self._per_second else 1.0
        return 1 + int(chance * most)


class Room:
    """How much is under way: at most so many things, of at most so many bytes together."""

    __slots__ = ("_bytes", "_things", "bytes", "things")

    def __init__(self, things: int, bytes: int) -> None:
        self._things, self._bytes = things, bytes
        self.things = self.bytes = 0
        """Under way now."""

    def take(self, size: int) -> bool:
        """One more of so many bytes, if there is room; one alone always has."""
        if self.things and (self.things >= self._things or self.bytes + size > self._bytes):
            return False
        self.things += 1
        self.bytes += size
        return True

    def release(self, size: int) -> None:
        """It has ended."""
        self.things -= 1
        self.bytes -= size


class Tally:
    """How many each key has now, at most `limit`; 0 is no limit, and then nothing is counted."""

    __slots__ = ("_counts", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        """Keys that have any."""
        return len(self._counts)

    def count(self, key: str) -> int:
        """How many it has."""
        return self._counts.get(key, 0)

    def counts(self) -> Iterable[tuple[str, int]]:
        """All that have any."""
        return self._counts.items()

    def has_room(self, key: str) -> bool:
        return not self._limit or self._counts.get(key, 0) < self._limit

    def take(self, key: str) -> None:
        """One more, whether or not there still is room: who was let in a moment ago counts, and is released later."""
        if self._limit:
            self._counts[key] = self._counts.get(key, 0) + 1

    def release(self, key: str) -> None:
        """One less; releasing what was not taken is no fault."""
        count = self._counts.get(key, 0) - 1
        if count > 0:
            self._counts[key] = count
        else:
            self._counts.pop(key, None)
