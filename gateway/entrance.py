"""The way in for those who are not known yet: their first messages are served a little at a time.

To check a token costs as much as a hundred deliveries. When thousands come at once, they wait for each other here, and
not everybody else for all of them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from bus.clock import Clock
from gateway.connection import Connection
from gateway.states import State

BUDGET: Final = 0.005
"""Seconds spent on them in one turn of the loop."""
MOST: Final = 131_072
"""Bytes of one connection that may wait."""
MOST_OF_ALL: Final = 67_108_864
"""Bytes that may wait altogether."""

Serve = Callable[[Connection, bytes], None]


class Entrance:
    """`serve` is what is done with a message. One that waits is dropped when its connection ends."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, serve: Serve, *, budget: float = BUDGET) -> None:
        self._loop, self._clock, self._serve, self._budget = loop, clock, serve, budget
        self._line: deque[tuple[Connection, bytes]] = deque()
        self._bytes: dict[Connection, int] = {}
        self._all = 0
        self._left = budget
        self._turning = False

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._line)

    def enter(self, connection: Connection, message: bytes) -> bool:
        """Serve a message now, or when its turn comes. False where too much waits already: it is not served."""
        if not self._line and self._left > 0:
            self._timed(connection, message)
            return True
        waiting = self._bytes.get(connection, 0) + len(message)
        if waiting > MOST or self._all + len(message) > MOST_OF_ALL:
            return False
        self._all += len(message)
        self._bytes[connection] = waiting
        self._line.append((connection, message))
        return True

    def waits(self, connection: Connection) -> bool:
        """Whether a message of it waits, so that no later one may overtake it."""
        return connection in self._bytes

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self._bytes.pop(connection, None)

    def _turn(self) -> None:
        self._turning = False
        self._left = self._budget
        while self._line and self._left > 0:
            connection, message = self._line.popleft()
            self._all -= len(message)
            if connection in self._bytes and connection.session.state is not State.CLOSED:
                self._bytes[connection] -= len(message)
                if self._bytes[connection] <= 0:
                    del self._bytes[connection]
                self._timed(connection, message)

    def _timed(self, connection: Connection, message: bytes) -> None:
        began = self._clock.monotonic()
        try:
            self._serve(connection, message)
        finally:
            self._left -= self._clock.monotonic() - began
            if not self._turning:
                self._turning = True
                self._loop.call_soon(self._turn)
