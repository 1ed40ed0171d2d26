"""Who counts as alive. Pure.

Whoever is on the list; and, for a while after we could not read it ourselves, who was on it before: they were most
likely cut off as we were, and taking their partitions just when they come back would move everything twice.
"""

from __future__ import annotations

from collections.abc import Collection


class Crew:
    """`gap`: seconds between two lists from which on nobody's absence is believed; `grace`: seconds for which not."""

    def __init__(self, gap: float, grace: float) -> None:
        self._gap, self._grace = gap, grace
        self._read_at: float | None = None
        self._awaited: frozenset[str] = frozenset()
        self._until = 0.0
        self.members: frozenset[str] = frozenset()
        """Those who count as alive."""

    def told(self, listed: Collection[str], now: float) -> frozenset[str]:
        """The list as it was read at `now` (monotonic seconds); returns those who count as alive."""
        if self._read_at is not None and now - self._read_at > self._gap:
            self._awaited, self._until = self.members, now + self._grace
        elif now >= self._until:
            self._awaited = frozenset()
        self._read_at = now
        self.members = self._awaited.union(listed)
        return self.members
