"""Runs the hub's flush on the event loop: at once, in slices, with room for everything else in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gateway.hub import Hub


class Flusher:
    """`wake` after anything was published; any number of calls in one turn lead to one flush."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop) -> None:
        self._hub = hub
        self._loop = loop
        self._running: Iterator[None] | None = None

    def wake(self) -> None:
        """Flush in this turn of the loop, or let a flush that is under way take it in."""
        if self._running is None and self._hub.dirty:
            self._running = self._hub.flush()
            self._loop.call_soon(self._step)

    def _step(self) -> None:
        assert self._running is not None
        for _ in self._running:
            self._loop.call_soon(self._step)
            return
        self._running = None
        self.wake()
