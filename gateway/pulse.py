"""A node's pulse: a probe through Redis to the node's own stream and back, once a second, one at a time.

Whoever asks for readiness shares what the last one proved, so however many ask, Redis is asked once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bus.clock import Clock
from bus.errors import BusError
from bus.pipe import OnReply, Reply
from gateway.health import Health, Patience, Vigil
from gateway.stats import Stats

EVERY: Final = 1.0
"""Seconds between two probes, and for how long one proves anything to who asks."""
OVERDUE: Final = 2.0
"""A probe that has not come back after so many seconds is not waited for, and another one sent."""
MOST: Final = 32
"""Probes remembered that have not come back."""

Send = Callable[[int, OnReply], None]
"""Puts a numbered probe on the node's own stream; the reply is the entry's number, 0 where the node counts as dead."""


class Pulse:
    """`run` probes until cancelled; `probed` is told of what comes back. `read_to` is how far the node has read."""

    def __init__(
        self,
        send: Send,
        clock: Clock,
        patience: Patience,
        stats: Stats,
        read_to: Callable[[], int],
        on_state: Callable[[Health], None],
    ) -> None:
        self._send, self._clock, self._stats, self._read_to, self._on_state = send, clock, stats, read_to, on_state
        self._every = min(EVERY, patience.stale_after / 3)
        self._vigil = Vigil(patience, clock.monotonic())
        self._number = 0
        self._sent: float | None = None
        """When the newest probe was sent; None: it came back, or could not be sent."""
        self._under_way: dict[int, float] = {}
        """When each was sent that did not come back yet, the oldest first."""
        self._proved = asyncio.Event()

    @property
    def state(self) -> Health:
        """Where the node stands."""
        return self._vigil.state

    @property
    def seconds(self) -> float:
        """Age of the newest proof."""
        return self._vigil.seconds(self._clock.monotonic())

    async def run(self) -> None:
        """Probe until cancelled."""
        while True:
            self._probe()
            self._look()
            await asyncio.sleep(self._every)

    async def proof(self, timeout: float) -> bool:
        """Whether a probe sent less than a second ago came back, or comes back within `timeout` seconds."""
        if self.state is Health.HEALTHY and self.seconds < EVERY:
            return True
        self._probe()
        try:
            async with asyncio.timeout(timeout):
                await self._proved.wait()
        except TimeoutError:
            return False
        return True

    def probed(self, number: int) -> None:
        """A probe came back through the node's own stream."""
        sent = self._under_way.get(number)
        if sent is None:
            return
        # A late one proves less, but not nothing: who waits for the newest alone calls a slow Redis one that is away.
        self._vigil.prove(sent)
        self._under_way = {other: at for other, at in self._under_way.items() if other > number}
        if number == self._number:
            self._sent = None
            self._proved.set()
        self._look()

    def _probe(self) -> None:
        now = self._clock.monotonic()
        if self._sent is not None and now - self._sent < OVERDUE:
            return
        self._proved.clear()
        self._number += 1
        self._sent = self._under_way[self._number] = now
        if len(self._under_way) > MOST:
            del self._under_way[next(iter(self._under_way))]
        number = self._number

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError) or not reply:
                self._under_way.pop(number, None)
                if number == self._number:
                    self._sent = None
            else:
                self._stats.stream_lag = max(0, reply - self._read_to() - 1)

        self._send(number, answered)

    def _look(self) -> None:
        now = self._clock.monotonic()
        changed = self._vigil.look(now)
        self._stats.health = tuple(Health).index(self._vigil.state)
        self._stats.proof_seconds = self._vigil.seconds(now)
        if changed:
            self._on_state(self._vigil.state)
