"""How many connections a person or an address may have on this node, so that all nodes together keep one limit. Pure.

Each node has a few places for everyone that it need not ask for: most people never need more, and their connects cost
Redis nothing. The rest of the limit is borrowed in Redis, some at a time, and given back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

FREE: Final = 2
"""Most places of one person on a node for which nobody is asked."""
SLACK: Final = 4
"""So many borrowed places more than are in use are kept at least, for who closes one connection opens another."""


class Shares:
    """`limit`: of all nodes together; 0 is none."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._borrowed: dict[str, int] = {}
        self._free = 0
        self.resize(1)

    def resize(self, nodes: int) -> bool:
        """There are so many nodes now, this one included: their free places together are at most half of the limit, and
        all of it where there is no other. Whether there are fewer of them than before."""
        before, self._nodes = self._free, max(1, nodes)
        self._free = self._limit if self._nodes == 1 else min(FREE, self._limit // (2 * self._nodes))
        return self._free < before

    def owes(self, key: str, count: int) -> int:
        """How many of those that are here take places that were neither free nor borrowed."""
        return max(0, count - self._free - self._borrowed.get(key, 0)) if self._limit else 0

    @property
    def pool(self) -> int:
        """How many there are to be borrowed, by all nodes together."""
        return self._limit - self._nodes * self._free

    def allows(self, key: str, count: int) -> bool:
        """Whether one more may come to the `count` that are here."""
        return not self._limit or count < self._free + self._borrowed.get(key, 0)

    def wanted(self, count: int) -> tuple[int, int]:
        """How many to have borrowed before one more comes, gladly and at least."""
        least = max(0, count + 1 - self._free)
        return least + count // 4, least

    def spare(self, key: str, count: int) -> int | None:
        """How many to keep where clearly more are borrowed than the `count` that are here need; None: all."""
        borrowed, needed = self._borrowed.get(key, 0), max(0, count - self._free)
        if not borrowed or (needed and borrowed - needed <= max(SLACK, needed)):
            return None
        return needed

    def has(self, key: str, borrowed: int) -> None:
        """So many are borrowed for it now."""
        if borrowed:
            self._borrowed[key] = borrowed
        else:
            self._borrowed.pop(key, None)

    def borrowed(self) -> Iterator[tuple[str, int]]:
        """All that is borrowed."""
        return iter(tuple(self._borrowed.items()))
