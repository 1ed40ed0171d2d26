"""How much may be under way at once, over all the queues that share it.

Places are given in the order in which they were asked for. Once all are taken, they are given again in handfuls: a
worker at its limit that took one entry for each that ends would ask Redis once for every single one.
"""

from __future__ import annotations

import asyncio
from typing import Final

HANDFUL: Final = 16
"""A full window opens again when one place in so many is free."""


class Window:
    """`size`: places there are."""

    def __init__(self, size: int) -> None:
        self.size = self._free = size
        self._turn = asyncio.Lock()
        self._enough = asyncio.Event()
        self._wanted = 1

    @property
    def taken(self) -> int:
        """Places in use."""
        return self.size - self._free

    async def reserve(self, most: int) -> int:
        """Take 1 to `most` places, once there are some."""
        async with self._turn:
            if not self._free:
                await self._until(max(1, self.size // HANDFUL))
            return self._take(min(most, self._free))

    async def reserve_all(self) -> int:
        """Take every place: be alone."""
        async with self._turn:
            await self._until(self.size)
            return self._take(self.size)

    def release(self, places: int) -> None:
        """Give places back."""
        self._free += places
        if self._free >= self._wanted:
            self._enough.set()

    def _take(self, places: int) -> int:
        self._free -= places
        return places

    async def _until(self, free: int) -> None:
        self._wanted = free
        while self._free < free:
            self._enough.clear()
            await self._enough.wait()
