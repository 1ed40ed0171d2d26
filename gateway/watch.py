"""What time does to connections: pings, missing pongs, expiry, slow outboxes, deadlines; and what it does to the node:
position checks and presence. One timer for all of it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Final

from gateway.connection import Connection
from gateway.pace import Pace
from gateway.session import Session, State
from gateway.settings import GatewaySettings
from gateway.wheel import Wheel
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire

if TYPE_CHECKING:
    from gateway.service import Service

SLOTS: Final = 100
"""Ticks per ping interval: 0.25 s at 25 s, so that 10,000 connections are pinged a hundred at a time."""
DRAIN_STEPS: Final = 40
PONG_PATIENCE: Final = 2.0
"""How long a drain waits for those who have not yet said that they have what was written to them, in seconds."""
PONG_STEPS: Final = 20
CLOSE_PATIENCE: Final = 5.0
"""How long a drain waits for the last connections after closing them, in seconds."""


class Watch:
    """Ticks. `run` is its loop; `tick` does what is due at a moment, and is all that tests need."""

    def __init__(self, service: Service, settings: GatewaySettings) -> None:
        self._service = service
        self._settings = settings
        self.tick_seconds = settings.ping_interval / SLOTS
        self._wheel: Wheel[Connection] = Wheel(SLOTS)
        self._pong_lag = max(1, min(SLOTS - 1, round(settings.pong_timeout / self.tick_seconds)))
        self._strangers: dict[Connection, float] = {}
        """Connections without a `connect`, by the time they opened, oldest first."""
        self._stalled: set[Connection] = set()
        self._expiring: list[tuple[float, int, Connection]] = []
        self._order = count()
        self._ending = Pace(service.clock)
        """Who is ended by what is due; many may have come at the same moment, or have tokens made at the same."""
        self._empty = asyncio.Event()
        """Set whenever the last connection goes."""

    # Connections -------------------------------------------------------------------------------------------------

    @property
    def strangers(self) -> int:
        """How many connections have not been authenticated."""
        return len(self._strangers)

    def everyone(self) -> list[Connection]:
        """All connections there are."""
        return [*self._strangers, *self._wheel.items()]

    def add(self, connection: Connection) -> None:
        """A connection opened."""
        self._strangers[connection] = self._service.clock.monotonic()

    def authenticated(self, connection: Connection) -> None:
        """Its `connect` was accepted: from now on it is pinged, and its token watched."""
        self._strangers.pop(connection, None)
        connection.slot = self._wheel.add(connection)
        self.watch_expiry(connection)

    def remove(self, connection: Connection) -> None:
        """It is gone."""
        self._strangers.pop(connection, None)
        if connection.slot >= 0:
            self._wheel.remove(connection, connection.slot)
        self.stalled(connection, False)
        if not self._service.stats.connections:
            self._empty.set()

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """Its outbox is not empty, or empty again."""
        if stalled:
            self._stalled.add(connection)
        else:
            self._stalled.discard(connection)
        self._service.stats.stalled = len(self._stalled)

    # The timer ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tick until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self.tick_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            self._service.stats.topics = len(self._service.hub.topics)
            self.tick(self._service.clock.monotonic(), self._service.clock.wall())

    def tick(self, now: float, wall: float) -> None:
        """All that is due at monotonic `now`, Unix time `wall`."""
        self._close_strangers(now)
        self._close_slow(now)
        for connection in self._wheel.advance():
            self._ping(connection, wall)
        for connection in self._wheel.behind(self._pong_lag):
            if connection.wire is not Wire.EVENTS:
                self._service.act(connection, connection.session.overdue_pong(wall))
        self._expire(wall)
        self._service.joins.check_some(self.tick_seconds / self._settings.position_check)
        self._service.presence.refresh_some(3 * self.tick_seconds / self._settings.presence_ttl)

    def _ping(self, connection: Connection, wall: float) -> None:
        if connection.wire is Wire.EVENTS:
            connection.heartbeat()
        else:
            self._service.act(connection, connection.session.ping(wall))
        self.watch_expiry(connection)

    def _close_strangers(self, now: float) -> None:
        while self._strangers:
            connection, opened = next(iter(self._strangers.items()))
            if now - opened < self._settings.connect_timeout:
                return
            del self._strangers[connection]
            self._ending.enter(self._end_stranger, connection)

    def _end_stranger(self, connection: Connection) -> None:
        if not connection.session.authenticated:  # as it may be by now
            connection.close(Disconnect.STALE)

    def _close_slow(self, now: float) -> None:
        for connection in [c for c in self._stalled if c.overdue(now)]:
            self._ending.enter(self._end_slow, connection, now)

    def _end_slow(self, connection: Connection, now: float) -> None:
        if connection.overdue(now):
            connection.close(Disconnect.SLOW)

    def watch_expiry(self, connection: Connection) -> None:
        """Every connection passes by here once per ping interval, and when it shows a token: so only what ends before
        the next time is kept."""
        ends = _deadline(connection.session) + self._service.grace
        if ends <= self._service.clock.wall() + 2 * self._settings.ping_interval:
            heappush(self._expiring, (ends, next(self._order), connection))

    def _expire(self, wall: float) -> None:
        while self._expiring and self._expiring[0][0] <= wall:
            self._ending.enter(self._end_expired, heappop(self._expiring)[2], wall)

    def _end_expired(self, connection: Connection, wall: float) -> None:
        if connection.session.state is not State.CLOSED:
            self._service.act(connection, connection.session.expire(wall))

    # The end -----------------------------------------------------------------------------------------------------

    async def drain(self, seconds: float) -> None:
        """Send everyone away within `seconds`, then wait a little for the last of them."""
        await self.send_away(seconds, lambda: True)
        if self._service.stats.connections:
            self._empty.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_PATIENCE):
                    await self._empty.wait()

    async def send_away(self, seconds: float, go_on: Callable[[], bool]) -> None:
        """Close every connection, in random order and uneven slices spread over `seconds`, for as long as `go_on` says
        so before each slice. Who has yet to acknowledge a notification gets a moment for that: elsewhere it could not,
        and would be sent it again by other ways."""
        everyone = self.everyone()
        random.shuffle(everyone)
        size = max(1, -(-len(everyone) // DRAIN_STEPS))
        waiting: list[Connection] = []
        for start in range(0, len(everyone), size):
            if not go_on():
                return
            waiting = _close([*waiting, *everyone[start : start + size]])
            await asyncio.sleep(seconds / DRAIN_STEPS * random.uniform(0.5, 1.5))
        for _ in range(PONG_STEPS):
            if not go_on() or not (waiting := _close(waiting)):
                return
            await asyncio.sleep(PONG_PATIENCE / PONG_STEPS)
        for connection in waiting:
            connection.close(Disconnect.SHUTDOWN)


def _close(connections: Sequence[Connection]) -> list[Connection]:
    """Close those who have acknowledged all that they were written; the others."""
    waiting: list[Connection] = []
    for connection in connections:
        if connection.session.state is State.CONNECTED and connection.session.unacknowledged:
            waiting.append(connection)
        else:
            connection.close(Disconnect.SHUTDOWN)
    return waiting


def _deadline(session: Session) -> float:
    """Unix time at which the first of its tokens runs out; infinity for never."""
    ends = session.expires_at or inf
    for subscription in session.subscriptions.values():
        if subscription.expires_at is not None and subscription.expires_at < ends:
            ends = subscription.expires_at
    return ends
