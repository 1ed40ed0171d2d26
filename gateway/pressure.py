"""Whether more may be taken in: judged by how full Redis is, and by how much of a partition still waits for a worker.
Pure.

What is refused is refused before Redis is full, for a full one also refuses what would empty it. It is taken again only
when there is clearly room, or a producer would be let in and sent away in turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LOW: Final = 0.9
"""Who was over a limit is taken again below this share of it."""


@dataclass(slots=True)
class Pressure:
    """`memory`: share of `maxmemory`; `backlog`: entries of one partition. Above these, events are refused."""

    memory: float = 0.9
    backlog: int = 100_000
    full: bool = False
    """Whether a master has too little memory left. One is enough: an event for several people needs them all."""
    crowded: set[int] = field(default_factory=set)
    """Partitions of which too much waits."""

    def weigh(self, used: float | None) -> bool:
        """The fullest master uses this share of its memory, None without a limit; whether that changed `full`."""
        before = self.full
        self.full = _over(self.full, used or 0.0, self.memory)
        return before is not self.full

    def count(self, partition: int, waiting: int) -> bool:
        """So many entries of a partition wait; whether that changed anything."""
        before = partition in self.crowded
        after = _over(before, waiting, self.backlog)
        if after:
            self.crowded.add(partition)
        else:
            self.crowded.discard(partition)
        return before is not after

    def refuses(self, partition: int) -> bool:
        """Whether an event of this partition is to come again later."""
        return self.full or partition in self.crowded


def _over(before: bool, value: float, limit: float) -> bool:
    return value >= (limit * LOW if before else limit)


def waiting(length: int, first: int, acked: int, last: int) -> int:
    """About how many of a stream's entries are not acknowledged: `first` and `last` are the times (ms) in the ids of
    its oldest and newest entry, `acked` that of the newest acknowledged. What is acknowledged stays for a while, so the
    length alone says nothing; and to count the others one by one would cost most when there are most."""
    if acked >= last or not length:
        return 0
    if acked <= first:
        return length
    return round(length * (last - acked) / (last - first))
