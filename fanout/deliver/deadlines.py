"""Ends calls that take too long, with one timer for all of them.

Senders end their own calls; this is the last resort, for a sender that does not. A timer for each of thousands of calls
a second cost 3 % of what a delivery does, and none of them ever went off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Deadlines:
    """`seconds`: how long a call may take; it may take up to a half more, for nobody looks more often than that."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._began: dict[asyncio.Task[object], float] = {}
        self._late: set[asyncio.Task[object]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def within(self, work: Awaitable[T]) -> T:
        """What the work gives. Raises `TimeoutError`."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        self._began[task] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / 2, self._look)
        try:
            return await work
        except asyncio.CancelledError:
            if task in self._late and task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            del self._began[task]
            self._late.discard(task)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() - self._seconds
        for task, began in self._began.items():  # in the order in which they began
            if began > limit:
                break
            if task not in self._late:
                self._late.add(task)
                task.cancel()
        self._timer = loop.call_later(self._seconds / 2, self._look) if self._began else None
