"""Steady traffic over several partitions, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from bus.errors import BusDown, Refused
from bus.keys import Keys
from bus.pipe import Pipe

TRIPLE = """
redis.call('INCR', KEYS[1])
redis.call('INCR', KEYS[2])
return redis.call('INCR', (string.gsub(KEYS[1], 'one$', 'three')))
"""
"""Writes two keys that are named and one that is not, as the product's scripts do."""
PACE, AGAIN = 0.002, 0.05


async def eventually(look: Callable[[], object]) -> None:
    """Until it is so; the test itself is bounded."""
    while not look():  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0.01)


@dataclass(slots=True)
class Lane:
    """What one partition was told."""

    confirmed: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    """It may or may not have been done."""
    refused: int = 0
    tripled: int = 0

    def refuse(self, refusal: Refused) -> None:
        """Only what passes may be said while masters change."""
        assert refusal.passing, refusal
        self.refused += 1


class Traffic:
    """Appends numbers to a log and runs a script, in every partition, one after the other, until told to stop."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self._pipe, self._keys = pipe, keys
        self.lanes = {p: Lane() for p in range(keys.partitions)}
        self.stop = False

    async def run(self) -> None:
        """All partitions at once."""
        async with asyncio.TaskGroup() as group:
            for p in self.lanes:
                group.create_task(self._work(p))

    async def _work(self, p: int) -> None:
        lane, log = self.lanes[p], self._keys.tagged(p, "log")
        names = [self._keys.tagged(p, part) for part in ("one", "two")]
        number = 0
        while not self.stop:
            number += 1
            try:
                while not await self._added(log, number, lane):  # noqa: ASYNC110  # Redis is asked again
                    await asyncio.sleep(AGAIN)
                lane.confirmed.append(number)
                await self._pipe.ask("EVAL", TRIPLE, 2, *names)
                lane.tripled += 1
            except BusDown:
                if number not in lane.confirmed[-1:]:
                    lane.unknown.append(number)
                await asyncio.sleep(AGAIN)
            except Refused as refusal:
                lane.refuse(refusal)
            await asyncio.sleep(PACE)

    async def _added(self, log: str, number: int, lane: Lane) -> bool:
        try:
            await self._pipe.ask("XADD", log, "*", "n", number)
        except Refused as refusal:
            lane.refuse(refusal)
            return False
        return True

    async def moved_on(self, count: int) -> None:
        """Until every partition has got so many further."""
        goals = {p: len(lane.confirmed) + count for p, lane in self.lanes.items()}
        await eventually(lambda: all(len(self.lanes[p].confirmed) >= goal for p, goal in goals.items()))

    async def check(self, *, certain: bool = True, lossless: bool = True) -> None:
        """Everything that was confirmed is there, once and in order; nothing else is but what nobody knew of; and no
        script was done by half. `certain`: nothing was left unknown; `lossless`: nothing may have been forgotten."""
        for p, lane in self.lanes.items():
            entries = await self._pipe.ask("XRANGE", self._keys.tagged(p, "log"), "-", "+")
            found = [int(fields[1]) for _, fields in entries]
            assert found == sorted(set(found)), f"partition {p}: twice, or out of order"
            assert set(lane.confirmed) <= set(found) or not lossless, f"partition {p}: lost"
            assert set(found) <= {*lane.confirmed, *lane.unknown}
            counts = [int(await self._pipe.ask("GET", self._keys.tagged(p, part))) for part in ("one", "two", "three")]
            assert len(set(counts)) == 1, f"partition {p}: a script was done by half, {counts}"
            if certain and lossless:
                assert not lane.unknown
                assert counts[0] == lane.tripled
