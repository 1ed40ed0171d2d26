"""One blocked read for the jobs of all partitions of a channel that a worker holds, on a connection of its own.

Unlike ingest, where a millisecond matters, a job may wait a hundredth of a second: so the streams share one connection
here, and reads are made at most a hundred times a second, for a read of 64 streams costs Redis 280 µs. A cluster
refuses such a read (CROSSSLOT): there each partition waits on a connection of its own.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from bus.consumer import Consumer
from bus.errors import BusDown, BusError
from bus.pipe import Pipe, Reply

PACE: Final = 0.01
"""Seconds between two reads at least."""
IDLE: Final = 1.0
"""How long a read waits at Redis when every partition waits for it, in seconds."""
BUSY: Final = 0.1
"""The same when some are at work: they are not part of it, and may wait again soon."""
OUTAGE: Final = 0.2


class Bell:
    """That of one partition: a doorbell of its loop."""

    def __init__(self, bells: Bells, stream: str) -> None:
        self._bells, self._stream = bells, stream
        self._rung = asyncio.Event()

    async def wait(self, position: str) -> None:
        """Return when there may be entries after this id, or when rung: also if that was before."""
        self._bells.wait_for(self._stream, position)
        try:
            await self._rung.wait()
        finally:
            self._rung.clear()
            self._bells.forget(self._stream)

    def ring(self) -> None:
        """Make the wait under way return, or the next one."""
        self._rung.set()


class Bells:
    """`line` is a connection for this alone, with a timeout above `IDLE`."""

    def __init__(self, line: Pipe) -> None:
        self._line = line
        self._bells: WeakValueDictionary[str, Bell] = WeakValueDictionary()
        self._waiting: dict[str, str] = {}
        self._somebody = asyncio.Event()

    def of(self, stream: str) -> Bell:
        """The bell of a stream; it is part of this for as long as somebody has it."""
        bell = self._bells[stream] = Bell(self, stream)
        return bell

    def wait_for(self, stream: str, position: str) -> None:
        """Somebody waits for entries after this position."""
        self._waiting[stream] = position
        self._somebody.set()

    def forget(self, stream: str) -> None:
        """Nobody waits for this stream now."""
        self._waiting.pop(stream, None)

    async def run(self) -> None:
        """Read for all who wait, for ever."""
        while True:
            await self._somebody.wait()
            await asyncio.sleep(PACE)
            if not self._waiting:
                self._somebody.clear()
                continue
            try:
                await self._read()
            except BusError:
                # What came meanwhile has to be looked for: all look.
                for stream in tuple(self._waiting):
                    self._ring(stream)
                await asyncio.sleep(OUTAGE)

    async def _read(self) -> None:
        if not self._line.up:
            with suppress(BusDown):
                await self._line.wait_up(OUTAGE)
        waiting = dict(self._waiting)
        block = IDLE if len(waiting) >= len(self._bells) else BUSY
        found: Reply = await self._line.ask(
            "XREAD", "COUNT", 1, "BLOCK", int(block * 1000), "STREAMS", *waiting, *waiting.values()
        )
        for stream, _ in found or ():
            self._ring(stream.decode())

    def _ring(self, stream: str) -> None:
        if (bell := self._bells.get(stream)) is not None:
            bell.ring()


class Alone:
    """A consumer with the connection on which it alone waits."""

    def __init__(self, consumer: Consumer, line: Pipe) -> None:
        self._consumer, self._line = consumer, line

    async def run(self) -> None:
        """As the consumer's."""
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(self._line.run())
            await self._consumer.run()
            waiting.cancel()

    def stop(self) -> None:
        """As the consumer's."""
        self._consumer.stop()
