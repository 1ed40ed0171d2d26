"""Runs the hub's flush on the event loop: in slices, with room for everything else in between.

A flush to one connection starts at once. A flush to thousands takes milliseconds, so it waits as long as it will itself
take, a few milliseconds at most: what arrives meanwhile shares its writes, and a write is nearly all that a delivery
costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from gateway.hub import Hub

WRITE_SECONDS: Final = 2e-6
"""Wait per connection to be written to, about half of what its write costs."""
MIN_WAIT: Final = 0.0005
"""A shorter wait is none."""
MAX_WAIT: Final = 0.005
_ENDED: Final = object()


class Flusher:
    """`wake` after anything was published; any number of calls lead to one flush."""

    def __init__(self, hub: Hub, loop: asyncio.AbstractEventLoop, on_written: Callable[[], None]) -> None:
        """`on_written` is called when there is something in `Hub.written`."""
        self._hub = hub
        self._on_written = on_written
        self._loop = loop
        self._running: Iterator[None] | None = None
        self._waiting = False

    def wake(self) -> None:
        """Flush soon, or let a flush that is waiting or under way take it in."""
        if self._hub.written:
            self._on_written()
        if self._running is not None or self._waiting or not self._hub.dirty:
            return
        self._waiting = True
        wait = min(MAX_WAIT, WRITE_SECONDS * sum(len(topic.members) for topic in self._hub.dirty))
        if wait < MIN_WAIT:
            self._loop.call_soon(self._start)
        else:
            self._loop.call_later(wait, self._start)

    def _start(self) -> None:
        self._waiting = False
        self._running = self._hub.flush()
        self._step()

    def _step(self) -> None:
        assert self._running is not None
        paused = False
        try:
            paused = next(self._running, _ENDED) is not _ENDED
        finally:
            if not paused:
                self._running = None  # also after a bug, or nothing would ever be flushed again
        if paused:
            self._loop.call_soon(self._step)
        else:
            self.wake()
