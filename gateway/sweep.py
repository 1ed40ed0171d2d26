"""Ends what takes too long, with one timer for all: they all wait equally long, so who came first is due first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

GRAIN: Final = 0.1
"""Least seconds between two looks, so that a thousand due one after the other are ended in few turns."""
MOST: Final = 100
"""Ended in one turn of the loop: a millisecond or two."""


class Sweep(Generic[T]):
    """Items that must be gone within `seconds`, or `end` is called with them. O(1) to add and to discard."""

    __slots__ = ("_due", "_end", "_seconds", "_timer")

    def __init__(self, seconds: float, end: Callable[[T], None]) -> None:
        self._seconds = seconds
        self._end = end
        self._due: dict[T, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due)

    def add(self, item: T) -> None:
        """Its time begins now, also if it was here already."""
        loop = asyncio.get_running_loop()
        self._due.pop(item, None)
        self._due[item] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)

    def discard(self, item: T) -> None:
        """It is gone by itself; one that is not here is no fault."""
        self._due.pop(item, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now, wait = loop.time(), 0.0
        late: list[T] = []
        for item, due in self._due.items():
            if due > now:
                wait = max(due - now, GRAIN)
                break
            if len(late) == MOST:
                break
            late.append(item)
        for item in late:
            del self._due[item]
        self._timer = loop.call_later(wait, self._look) if self._due else None
        for item in late:
            self._end(item)
