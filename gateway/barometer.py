"""Looks about once a second at how full Redis is and how much waits there, and tells the node's `Pressure`."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Arg, Pipe
from gateway.pressure import Pressure, waiting
from gateway.stats import Stats

PERIOD: Final = 1.0

log = logging.getLogger(__name__)


class Barometer:
    """`run` looks for ever; `look` does it once, and is all that tests need."""

    def __init__(self, pipe: Pipe, keys: Keys, pressure: Pressure, stats: Stats) -> None:
        self._pipe, self._keys, self._pressure, self._stats = pipe, keys, pressure, stats

    async def run(self) -> None:
        """Look until cancelled. A Redis that does not answer changes nothing: who asks it is refused anyway."""
        while True:
            await asyncio.sleep(PERIOD)
            await self.look()

    async def look(self) -> None:
        """Once. What one server does not say stays as it was, and holds up nothing that is known of the others. Raises
        nothing."""
        await self._weigh()
        for partition, count in (await self._waiting()).items():
            if self._pressure.count(partition, count):
                self._tell("backlog", partition in self._pressure.crowded, partition)
        self._stats.full = int(self._pressure.full)
        self._stats.crowded_partitions = len(self._pressure.crowded)

    async def _weigh(self) -> None:
        known: list[float] = []
        silent = False
        masters = self._pipe.masters()
        for master in masters:
            try:
                known.append(await self._used(master.ask) or 0.0)
            except BusError:
                silent = True
        fullest = max(known, default=0.0)
        if silent or not masters:  # it may be the one that is full
            fullest = max(fullest, self._pressure.memory if self._pressure.full else 0.0)
        if self._pressure.weigh(fullest):
            self._tell("memory", self._pressure.full)

    @staticmethod
    async def _used(ask: object) -> float | None:
        assert callable(ask)
        lines = (await ask("INFO", "memory")).decode().splitlines()
        figures = dict(line.split(":", 1) for line in lines if ":" in line)
        most = int(figures.get("maxmemory", 0))
        # What waits for replicas is not held against the limit by Redis either.
        used = int(figures.get("used_memory", 0)) - int(figures.get("mem_not_counted_for_evict", 0))
        return used / most if most else None

    async def _waiting(self) -> dict[int, int]:
        """How much waits in each partition; looked at closely only where it may be too much."""
        partitions = range(self._keys.partitions)
        lengths = await self._pipe.asks([("XLEN", self._keys.events(p)) for p in partitions])
        found = {p: 0 for p in partitions if not isinstance(lengths[p], BusError)}
        long = [p for p in found if lengths[p] >= self._pressure.backlog or p in self._pressure.crowded]
        close = await self._pipe.asks([command for p in long for command in self._close(p)])
        for number, p in enumerate(long):
            acked, first, last = answers = close[3 * number : 3 * number + 3]
            if any(isinstance(answer, BusError) for answer in answers):
                del found[p]
            elif first and last:
                found[p] = waiting(lengths[p], _time(first[0][0]), _time(acked or b"0-0"), _time(last[0][0]))
        return found

    def _close(self, partition: int) -> tuple[tuple[Arg, ...], ...]:
        events = self._keys.events(partition)
        return (
            ("HGET", self._keys.head(partition), "acked"),
            ("XRANGE", events, "-", "+", "COUNT", 1),
            ("XREVRANGE", events, "+", "-", "COUNT", 1),
        )

    def _tell(self, what: str, over: bool, partition: int = -1) -> None:
        where = {} if partition < 0 else {"partition": partition}
        if over:
            log.warning("events are refused", extra={"reason": f"over the limit of {what}", **where})
        else:
            log.info("events are taken again", extra={"reason": f"below the limit of {what}", **where})


def _time(entry: bytes) -> int:
    return int(entry.partition(b"-")[0])
