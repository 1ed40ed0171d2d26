"""Lets so many queues of a process be worked at a time; the others wait at the door, and their next batch grows.

Who takes entries only when it is its turn takes all that came meanwhile. So what a batch costs is shared by the more
entries the busier the process is, and however many queues there are. Who finds a place free has it at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Door:
    """`places`: how many may be inside. `longest`: after so many seconds a place goes to the next though whoever had it
    goes on, for a server that hangs must not keep those out whose server does not.
    """

    def __init__(self, places: int, longest: float) -> None:
        self._free, self._longest = places, longest
        self._line: deque[asyncio.Future[bool]] = deque()

    def enter(self) -> asyncio.Future[bool]:
        """Has a result when there is a place, in the order of arrival; whoever set one before that waits no more."""
        came: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._line.append(came)
        self._let_in()
        return came

    def leave(self) -> None:
        """Give a place back."""
        self._free += 1
        self._let_in()

    def leave_late(self, place: Place) -> asyncio.TimerHandle:
        """Have a place given back when it was had for too long."""
        return asyncio.get_running_loop().call_later(self._longest, place.leave)

    def _let_in(self) -> None:
        while self._free and self._line:
            came = self._line.popleft()
            if not came.done():
                self._free -= 1
                came.set_result(True)


class Place:
    """That of one queue, inside or at the door."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._came: asyncio.Future[bool] | None = None
        self._had = False

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[bool]:
        """Wait for a place and have it until the end of the block; False when it was given up before there was one."""
        self._came = came = self._door.enter()
        try:
            self._had = await came
        except asyncio.CancelledError:
            if not came.cancelled() and came.result():  # it came in the same moment
                self._door.leave()
            raise
        if not self._had:
            yield False
            return
        late = self._door.leave_late(self)
        try:
            yield True
        finally:
            late.cancel()
            self.leave()

    def leave(self) -> None:
        """Give it back; a second call does nothing."""
        if self._had:
            self._had = False
            self._door.leave()

    def give_up(self) -> None:
        """Wait no more."""
        if self._came is not None and not self._came.done():
            self._came.set_result(False)


class Anywhere:
    """For a queue that need not wait for a place."""

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[bool]:
        """At once."""
        yield True

    def give_up(self) -> None:
        """There is nothing to wait for."""
