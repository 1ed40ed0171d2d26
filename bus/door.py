"""Lets so many queues of a process be worked at a time; the others wait at the door, and their next batch grows.

Who takes entries only when it is its turn takes all that came meanwhile. So what a batch costs is shared by the more
entries the busier the process is, and however many queues there are. Who finds a place free takes it at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Door:
    """`places`: how many may be inside. `longest`: after so many seconds a place goes to the next though whoever had it
    goes on, for a server that hangs must not keep those out whose server does not.
    """

    def __init__(self, places: int, longest: float) -> None:
        self._places, self._longest = asyncio.Semaphore(places), longest

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Wait for a place, in the order of arrival, and have it until the end of the block."""
        await self._places.acquire()
        place = [self._places]

        def leave() -> None:
            if place:
                place.pop().release()

        late = asyncio.get_running_loop().call_later(self._longest, leave)
        try:
            yield
        finally:
            late.cancel()
            leave()
