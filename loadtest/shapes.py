"""How many people there are at each moment of a load test, and when all of them lose their connection at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stage:
    """A moment: so many people, coming or going at `rate` per second; everyone reconnects when `storms` rises."""

    people: int
    rate: float
    storms: int = 0


class Shape(Protocol):
    """The course of a test; times in seconds."""

    def at(self, elapsed: float) -> Stage | None:
        """The stage at `elapsed`, or None when the test is over."""


@dataclass(frozen=True, slots=True)
class Steady:
    """Everyone comes within a fifth of the time and stays."""

    people: int
    seconds: float

    def at(self, elapsed: float) -> Stage | None:
        """See `Shape`."""
        return Stage(self.people, _rate(self.people, self.seconds / 5)) if elapsed < self.seconds else None


@dataclass(frozen=True, slots=True)
class Ramp:
    """People come in ten steps over the first two thirds, and half of them go again in the last sixth."""

    people: int
    seconds: float

    def at(self, elapsed: float) -> Stage | None:
        """See `Shape`."""
        if elapsed >= self.seconds:
            return None
        rate = _rate(self.people, self.seconds / 10)
        if elapsed >= self.seconds * 5 / 6:
            return Stage(max(1, self.people // 2), rate)
        step = min(10, int(elapsed / (self.seconds * 2 / 3) * 10) + 1)
        return Stage(max(1, self.people * step // 10), rate)


@dataclass(frozen=True, slots=True)
class Reconnect:
    """Steady, but in the middle everyone is cut off at once, three times, and comes back."""

    people: int
    seconds: float

    def at(self, elapsed: float) -> Stage | None:
        """See `Shape`."""
        if elapsed >= self.seconds:
            return None
        storms = sum(elapsed >= self.seconds * share for share in (0.4, 0.55, 0.7))
        return Stage(self.people, _rate(self.people, self.seconds / 5), storms)


SHAPES: dict[str, type[Steady] | type[Ramp] | type[Reconnect]] = {
    "steady": Steady,
    "ramp": Ramp,
    "reconnect": Reconnect,
}


def _rate(people: int, seconds: float) -> float:
    return max(1.0, people / seconds)
