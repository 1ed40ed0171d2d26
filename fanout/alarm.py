"""Wakes the owner of a partition when a timer is set there that is due before all others.

The owner sleeps until the first timer it knows of; whoever publishes to people of a partition, most often another
worker, sets earlier ones. A call that is lost delays a timer until the owner looks by itself, and no longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from bus.connect import BLOCK
from bus.errors import BusDown, BusError
from bus.keys import Keys
from bus.pipe import Pipe, Reply

KEPT: Final = 60_000
"""How long calls are kept for a worker that does not listen, in milliseconds."""
OUTAGE: Final = 0.2


class Alarm:
    """That of one worker."""

    def __init__(self, pipe: Pipe, keys: Keys, worker: str) -> None:
        self._pipe, self._keys, self._bell = pipe, keys, keys.worker_bell(worker)

    def ring(self, worker: str, partition: int) -> None:
        """Call the worker that has the partition, which may be this one."""
        key = self._keys.worker_bell(worker)
        self._pipe.post(("RPUSH", key, partition), _ignore)
        self._pipe.post(("PEXPIRE", key, KEPT), _ignore)

    async def listen(self, line: Pipe, wake: Callable[[int], None]) -> None:
        """Call `wake` with each partition in which there may be something due, for ever.

        `line` is a connection for this alone, with a timeout above `BLOCK`.
        """
        while True:
            if not line.up:
                with suppress(BusDown):
                    await line.wait_up(OUTAGE)
                continue
            try:
                called = await line.ask("BLPOP", self._bell, int(BLOCK))
            except BusError:
                await asyncio.sleep(OUTAGE)
                continue
            if called is not None:
                wake(int(called[1]))


def _ignore(reply: Reply) -> None:
    """The owner looks by itself before long."""
