"""Rings when a stream got something: one blocked read, on a connection of its own, so nothing polls.

One connection per leased partition, also on a single Redis: a wait for 64 streams at once has to be set up anew for
every event, which cost 280 µs of Redis's time and as much of ours where this costs 10. In a cluster it has to be so.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

from bus.connect import BLOCK
from bus.errors import BusDown, BusError
from bus.pipe import Pipe, Reply

OUTAGE: Final = 0.2


class Doorbell:
    """`line` is a connection for this alone, with a timeout above `BLOCK`."""

    def __init__(self, line: Pipe, stream: str) -> None:
        self._line, self._stream = line, stream
        self._answer: asyncio.Future[Reply] | None = None
        self._rung = False
        """Whether the wait under way was made to return."""

    async def wait(self, position: str) -> None:
        """Return when there may be entries after this id: at once where they are there already, or on `ring`.

        Also after an outage, for what came while nobody waited has to be looked for.
        """
        self._rung = False
        if not self._line.up:
            with suppress(BusDown):
                await self._line.wait_up(OUTAGE)
            return
        # It may have been rung in the moment in which Redis said that nothing came.
        while (found := await self._block(position)) is None and not self._rung:
            pass
        if isinstance(found, BusError) and self._line.up:  # else the next wait is for the line
            await asyncio.sleep(OUTAGE)

    def ring(self) -> None:
        """Make the wait under way return."""
        self._rung = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(())

    async def _block(self, position: str) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def answered(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        self._answer = answer
        command = ("XREAD", "COUNT", 1, "BLOCK", int(BLOCK * 1000), "STREAMS", self._stream, position)
        self._line.post(command, answered)
        return await answer
