"""A bell per stream: rung by whoever waits for all streams at once, heard by the one who works this stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Bell:
    """Begins rung, for what lay there before anyone listened."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._rung.set()
        self.position = "0-0"
        """Id of the newest entry known: whoever waits, waits for what comes after it."""
        self.on_heard: Callable[[], None] | None = None

    @property
    def rung(self) -> bool:
        """Whether somebody still has to come and look."""
        return self._rung.is_set()

    def ring(self, position: str | None = None) -> None:
        """There may be something new, up to `position`."""
        if position is not None:
            self.passed(position)
        self._rung.set()

    def passed(self, position: str) -> None:
        """Everything up to there is known."""
        if _order(position) > _order(self.position):
            self.position = position

    async def heard(self) -> None:
        """Return once it is rung; from then on it must be rung anew."""
        await self._rung.wait()
        self._rung.clear()
        if self.on_heard is not None:
            self.on_heard()


def _order(entry_id: str) -> tuple[int, int]:
    time, _, number = entry_id.partition("-")
    return int(time), int(number or 0)
