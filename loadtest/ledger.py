"""Who should have got what: from sequence numbers alone, what was delivered, lost, doubled, or out of order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Counts of messages."""

    delivered: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0

    def add(self, other: Tally) -> None:
        """Count another's in."""
        self.delivered += other.delivered
        self.lost += other.lost
        self.doubled += other.doubled
        self.disordered += other.disordered

    @property
    def clean(self) -> bool:
        """Whether each message came once and in its place."""
        return not (self.lost or self.doubled or self.disordered)


class Ledger:
    """One receiver of one numbered stream; it is owed every number after `position`."""

    __slots__ = ("_delivered", "_disordered", "_doubled", "_missing", "_next")

    def __init__(self, position: int) -> None:
        self._next = position + 1
        self._missing: set[int] = set()
        self._delivered = self._doubled = self._disordered = 0

    @property
    def position(self) -> int:
        """The highest number seen, or where it began."""
        return self._next - 1

    def receive(self, number: int) -> None:
        """A message with this number came."""
        if number < self._next and number not in self._missing:
            self._doubled += 1
            return
        self._delivered += 1
        if number < self._next:
            self._missing.remove(number)
            self._disordered += 1
            return
        self._missing.update(range(self._next, number))
        self._next = number + 1

    def has_all(self, last: int) -> bool:
        """Whether every number up to `last` has come."""
        return self._next > last and not any(number <= last for number in self._missing)

    def close(self, last: int) -> Tally:
        """The account, given that numbers up to `last` were sent."""
        owed = sum(number <= last for number in self._missing) + max(0, last + 1 - self._next)
        return Tally(self._delivered, owed, self._doubled, self._disordered)


def total(tallies: Iterable[Tally]) -> Tally:
    """All of them in one."""
    summed = Tally()
    for tally in tallies:
        summed.add(tally)
    return summed
