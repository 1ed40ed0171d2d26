"""Gives events again to partitions that may have forgotten them: what a worker was told is acknowledged, elsewhere.

An entry of this partition's ingest stream is acknowledged once all partitions of its recipients have it. When one of
these comes back on another server it may have lost the newest of it, while our own stream knows that it was done. So
entries stay for a while after they were acknowledged, it is noted to which generations of all partitions they were
given, and where one of these has begun another since, they are given to it again before anything new is. Who still has
an event is not given it twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from bus.clock import Clock
from bus.errors import BusDown, BusError
from bus.generation import FIRST, Generation, Generations, forgot_together
from bus.keys import Keys
from bus.lease import Lease
from bus.outcome import Outcome, Unavailable
from bus.pipe import Pipe
from bus.queue import Entry, fenced, read_entry
from fanout.look import look
from fanout.plan import Current, is_fleeting
from fanout.publisher import BEHIND, STALE, Publisher
from fanout.stats import Stats

CHUNK: Final = 50
"""Entries given again at a time."""
UNKNOWN: Final = "-"
"""Where a partition was not met yet; no generation has this name."""
OUTAGE: Final = 0.5
"""Seconds until what Redis did not take is tried again."""

log = logging.getLogger(__name__)


class Replay:
    """Of one leased partition. `keep`: seconds for which acknowledged entries stay."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        lease: Lease,
        publisher: Publisher,
        generations: Generations,
        clock: Clock,
        stats: Stats,
        *,
        keep: float,
    ) -> None:
        self._pipe, self._keys, self._lease, self._publisher = pipe, keys, lease, publisher
        self._generations, self._clock, self._stats = generations, clock, stats
        self._keep = int(keep * 1000)
        self._one_at_a_time = asyncio.Lock()
        self._given: dict[int, str] | None = None
        """By partition, the generation to which all was given that is acknowledged; None: not read yet."""
        self._version = -1
        """Of what was known of the generations when this was found to be all."""
        self._handled = (0, 0)
        self._stale = True
        """Whether to ask for the generations, for we were told that one is not as we know it."""
        self._under_way: tuple[Mapping[int, str], str] | None = None
        """A replay that broke off: what is given to whom, and the last entry that was."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow changes for ever, also where no event comes. Raises `Fenced` when the lease is over."""
        self._generations.watch(self._wake)
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                try:
                    async with self.turn(()):
                        pass
                except BusError:
                    await asyncio.sleep(OUTAGE)
                    self._changed.set()
        finally:
            self._generations.forget(self._wake)

    def _wake(self, changed: frozenset[int]) -> None:
        self._changed.set()

    @asynccontextmanager
    async def turn(self, entries: Sequence[Entry]) -> AsyncIterator[Mapping[int, str]]:
        """For as long as these entries are given: the generations they are meant for, to which all before them was.

        Raises `BusError`, `Fenced`.
        """
        async with self._one_at_a_time:
            given = await self._catch_up()
            if entries:
                # From here on they may have been given, and may be acknowledged as soon as we end.
                self._handled = max(self._handled, _position(entries[-1].id))
            yield given

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """What became of entries that were given; one may have met a generation that is not known here."""
        if Unavailable(STALE) in outcomes:
            self._stale = True
            self._changed.set()

    # Catching up -----------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> Mapping[int, str]:
        if self._stale or len(self._generations.known) < self._keys.partitions:
            await self._generations.look(self._pipe)
            self._stale = False
        if self._given is None:
            self._given = await self._read()
        elif self._version == self._generations.version:
            return self._given  # all partitions would have to be gone through for each batch
        while (now := self._names()) != self._given:
            given = self._given
            changed = {q for q, name in now.items() if given.get(q, UNKNOWN) not in (UNKNOWN, name)}
            lost = {q: now[q] for q in changed if not self._has(q, given)}
            if lost:
                await self._give_again(lost)
            await self._cover(now)
            self._given = now
        self._version = self._generations.version
        return self._given

    def _names(self) -> dict[int, str]:
        known = self._generations.known
        given = self._given or {}
        # One that was met once and cannot be asked now is as it was.
        return {q: known[q].name if q in known else given.get(q, UNKNOWN) for q in range(self._keys.partitions)}

    def _has(self, q: int, given: Mapping[int, str]) -> bool:
        """Whether a partition must still have what our own stream says it was given."""
        p, known = self._lease.partition, self._generations.known
        ours = known.get(p, Generation(FIRST))
        return q == p or forgot_together(known[q], given[q], ours, given.get(p, UNKNOWN))

    async def _read(self) -> dict[int, str]:
        _, _, given = await self._window()
        names = given.split()
        # Nobody noted any: nothing was given by a release that could give it again.
        return dict(enumerate(names)) if len(names) == self._keys.partitions else {}

    async def _window(self) -> tuple[str, str, str]:
        names = (self._keys.head(self._lease.partition),)
        after, acked, given = await self._pipe.script("window", names, (self._keep,))
        return after.decode(), acked.decode(), given.decode()

    async def _cover(self, now: Mapping[int, str]) -> None:
        p = self._lease.partition
        names = (self._keys.lease(p), self._keys.head(p))
        listed = " ".join(now[q] for q in range(self._keys.partitions))
        fenced(await self._pipe.scripts([("cover", names, (self._lease.owner, self._lease.fence, listed))]), p)

    # Giving again ----------------------------------------------------------------------------------------------------

    async def _give_again(self, lost: Mapping[int, str]) -> None:
        """All of the window to these partitions, in its order. Raises `BusError` where that must be done again."""
        after, acked, _ = await self._window()
        last = max(_position(acked), self._handled)
        if self._under_way is not None and self._under_way[0] == lost:
            after = max(after, self._under_way[1], key=_position)
        before = self._stats.replayed
        while entries := await self._next(after, last):
            await self._give(entries, lost)
            after = entries[-1].id
            self._under_way = (lost, after)
        self._under_way = None
        count = self._stats.replayed - before
        partition = self._lease.partition
        log.info("gave events again after a failover", extra={"partition": partition, "count": count})

    async def _next(self, after: str, last: tuple[int, int]) -> list[Entry]:
        events, to = self._keys.events(self._lease.partition), f"{last[0]}-{last[1]}"
        found = await self._pipe.ask("XRANGE", events, f"({after}", to, "COUNT", CHUNK)
        return [read_entry(raw) for raw in found]

    async def _give(self, entries: Sequence[Entry], lost: Mapping[int, str]) -> None:
        p, now = self._lease.partition, self._clock.wall()
        looked = [look(entry, p, now) for entry in entries]
        # What was for those who listened then is over.
        currents = [item for item in looked if isinstance(item, Current) and not is_fleeting(item.event)]
        withdrawn = await self._pipe.asks(("EXISTS", self._keys.withdrawn(p, item.event.ref)) for item in currents)
        still = [current for current, gone in zip(currents, withdrawn, strict=True) if gone == 0]
        outcomes = await self._publisher.publish(still, lost, lost.keys())
        if Unavailable(BEHIND) in outcomes:
            # One that somebody cannot be given holds up what follows it in a batch, and nobody will bury it now.
            outcomes = [(await self._publisher.publish([each], lost, lost.keys()))[0] for each in still]
        self.note(outcomes)
        if any(isinstance(outcome, Unavailable) for outcome in outcomes) or any(map(_failed, withdrawn)):
            raise BusDown("a partition cannot be given again what it may have lost")
        # Whom an event cannot be given to has been dealt with when it came first.
        self._stats.replayed += len(outcomes)


def _failed(reply: object) -> bool:
    return isinstance(reply, BusError)


def _position(entry_id: str) -> tuple[int, int]:
    high, _, low = entry_id.partition("-")
    return int(high), int(low or 0)
