"""A timing wheel: something happens to every item once per round, a slice of them at each step. Pure.

One wheel replaces a timer per connection: 25 slots, one step a second, and every connection is pinged each 25 s. A
second look at the slot passed some steps ago finds those that should have answered by now.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Generic, TypeVar

T = TypeVar("T")


class Wheel(Generic[T]):
    """Items by slot. Adding and removing are O(1); an item costs its place in a set."""

    __slots__ = ("_added", "_at", "_slots")

    def __init__(self, slots: int) -> None:
        """Raises ValueError for less than one slot."""
        if slots < 1:
            raise ValueError("a wheel has at least one slot")
        self._slots: list[set[T]] = [set() for _ in range(slots)]
        self._at = 0
        self._added = 0

    def __len__(self) -> int:
        return sum(map(len, self._slots))

    def add(self, item: T) -> int:
        """Put an item into one of the slots of the second half of the round, in turn, so that a thousand who come at
        once are not all due at once. Returns the slot, which `remove` wants back."""
        count = len(self._slots)
        half = count // 2
        slot = (self._at + half + 1 + self._added % (count - half)) % count
        self._added += 1
        self._slots[slot].add(item)
        return slot

    def remove(self, item: T, slot: int) -> None:
        """Forget an item; one that is not there is no fault."""
        self._slots[slot].discard(item)

    def advance(self) -> tuple[T, ...]:
        """One step on: the items that are due now."""
        self._at = (self._at + 1) % len(self._slots)
        return tuple(self._slots[self._at])

    def behind(self, steps: int) -> tuple[T, ...]:
        """The items of the slot that was due `steps` ago, some of which may have come after that."""
        return tuple(self._slots[(self._at - steps) % len(self._slots)])

    def items(self) -> Iterator[T]:
        """All of them."""
        return chain.from_iterable(self._slots)
