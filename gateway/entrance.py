"""The way in for those who are not known yet: their first messages are served a little at a time.

To check a token costs as much as a hundred deliveries. When thousands come at once, they wait for each other here, and
not everybody else for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.connection import Connection
from gateway.pace import Pace
from gateway.states import State

MOST: Final = 131_072
"""Bytes of one connection that may wait."""
MOST_OF_ALL: Final = 67_108_864
"""Bytes that may wait altogether."""

Serve = Callable[[Connection, bytes], None]


class Entrance:
    """`serve` is what is done with a message. One that waits is dropped when its connection ends."""

    def __init__(self, pace: Pace, serve: Serve) -> None:
        self._pace, self._serve = pace, serve
        self._bytes: dict[Connection, int] = {}
        self._all = self._waiting = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return self._waiting

    def enter(self, connection: Connection, message: bytes) -> bool:
        """Serve a message now, or when its turn comes. False where too much waits already: it is not served."""
        if self._pace.free:
            self._pace.enter(self._serve, connection, message)
            return True
        waiting = self._bytes.get(connection, 0) + len(message)
        if waiting > MOST or self._all + len(message) > MOST_OF_ALL:
            return False
        self._all += len(message)
        self._waiting += 1
        self._bytes[connection] = waiting
        self._pace.enter(self._take, connection, message)
        return True

    def waits(self, connection: Connection) -> bool:
        """Whether a message of it waits, so that no later one may overtake it."""
        return connection in self._bytes

    def forget(self, connection: Connection) -> None:
        """It is gone."""
        self._bytes.pop(connection, None)

    def _take(self, connection: Connection, message: bytes) -> None:
        self._all -= len(message)
        self._waiting -= 1
        if connection not in self._bytes or connection.session.state is State.CLOSED:
            return
        self._bytes[connection] -= len(message)
        if self._bytes[connection] <= 0:
            del self._bytes[connection]
        self._serve(connection, message)
