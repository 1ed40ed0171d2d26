"""Which nodes are gone for good: those that were silent for long whenever something was for them. Pure.

A node that was only away tells Redis again what it listens to when it is back, so its routes may go after a while.
"""

from __future__ import annotations

from typing import Final

from bus.clock import Clock

MOST: Final = 1_000


class Graves:
    """`after`: seconds of silence after which a node's routes may be forgotten."""

    def __init__(self, clock: Clock, after: float) -> None:
        self._clock, self._after = clock, after
        self._since: dict[str, float] = {}

    def silent(self, node: str) -> bool:
        """The node is not alive now; whether it has been so for long enough."""
        now = self._clock.monotonic()
        if len(self._since) >= MOST and node not in self._since:
            del self._since[next(iter(self._since))]
        return now - self._since.setdefault(node, now) >= self._after

    def answered(self, node: str) -> None:
        """The node is alive."""
        if self._since:
            self._since.pop(node, None)
