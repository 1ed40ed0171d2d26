"""Keeps looking where the masters are: what all pipes of a process share, so that it is asked once for all of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from bus.address import Place
from bus.clock import Clock
from bus.errors import BusDown, BusError
from bus.pipe.dial import Dialer, why
from bus.pipe.line import Line
from bus.pipe.routing import SlotMap, read_slots, read_state
from bus.pipe.sentinels import Report, counting, named, read_report

LOOK: Final = 1.0
"""How often each sentinel is asked, in seconds: so long at most an isolated master is written to."""
PERIOD: Final = 3.0
"""How often a cluster is asked which master has which slot, when nothing says that it changed."""
PACE: Final = 0.1
"""Seconds between two looks at least, however much they are hurried."""
PATIENCE: Final = 1.0
"""Seconds that one node or sentinel may take for its answer; another one is asked then."""

Listener = Callable[[], None]


class Watch:
    """What both kinds have: listeners, and a pause that can be cut short."""

    def __init__(self, dialer: Dialer, clock: Clock) -> None:
        self._dialer, self._clock = dialer, clock
        self.listeners: set[Listener] = set()
        self.trouble = ""
        """Why nothing is known."""
        self._hurries = 0
        self._pulse = asyncio.Event()

    def hurry(self) -> None:
        """Look now: what is known may be wrong."""
        self._hurries += 1
        self._pulse.set()
        self._pulse = asyncio.Event()

    def _tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()

    async def _pause(self, seconds: float, hurries: int) -> None:
        """Until it is time to look again, or somebody hurried since they had been so many times."""
        await asyncio.sleep(PACE)
        if hurries == self._hurries:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds - PACE):
                    await self._pulse.wait()


class SentinelWatch(Watch):
    """The master of a service. Every sentinel is asked by itself, so one that is away holds up no other."""

    def __init__(self, places: tuple[Place, ...], service: str, dialer: Dialer, clock: Clock) -> None:
        super().__init__(dialer, clock)
        self._places, self._service = places, service
        self._reports: dict[Place, Report] = {}
        self._newest = 0
        """The highest epoch that was heard of."""
        self.master: Place | None = None

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._listen(place))

    async def _listen(self, place: Place) -> None:
        while True:
            try:
                line = await self._dialer.dial(place)
                try:
                    while True:
                        hurries = self._hurries
                        self._heard(place, await self._ask(line))
                        await self._pause(LOOK, hurries)
                finally:
                    line.drop("closed")
            except (OSError, TimeoutError, BusError) as error:
                self._failed(place, f"a sentinel does not answer: {why(error)}")
            await self._pause(LOOK, self._hurries)

    async def _ask(self, line: Line) -> Report:
        async with asyncio.timeout(PATIENCE):
            address, told = await line.asks(
                [("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service), ("SENTINEL", "MASTER", self._service)]
            )
        if isinstance(address, BusError):
            raise address
        report = read_report(address, None if isinstance(told, BusError) else told)
        if report is None:
            raise BusDown("it knows no master of the name that the URL has")
        return report

    def _heard(self, place: Place, report: Report) -> None:
        self._reports[place] = report
        reports = counting(self._reports.values(), self._newest, len(self._places))
        self._newest = max((each.epoch for each in reports), default=self._newest)
        master = named(reports, self.master)
        if master != self.master:
            self.master, self.trouble = master, ""
            self._tell()

    def _failed(self, place: Place, trouble: str) -> None:
        self._reports.pop(place, None)
        if self.master is None:
            self.trouble = trouble
            self._tell()


class ClusterWatch(Watch):
    """Which master has which slot, as the nodes say it in turn."""

    def __init__(self, seeds: tuple[Place, ...], dialer: Dialer, clock: Clock) -> None:
        super().__init__(dialer, clock)
        self._seeds = seeds
        self._lines: dict[Place, Line] = {}
        self._failures: dict[Place, int] = {}
        self._asked: dict[Place, float] = {}
        self._prefer: Place | None = None
        self._stale = 0
        self._looking = asyncio.Lock()
        self.map: SlotMap | None = None
        self.whole = asyncio.Event()
        """Whether the map is as a node gave it. One that was redirected from may be a master no more, and stands in a
        map that was mended by redirections only as if it had lost a slot or two."""

    def moved(self, slot: int, place: Place) -> None:
        """A node said so of one slot; most likely of others it is true too, so the master named is asked now."""
        if self.map is None or self.map.owners[slot] == place:
            return
        self.map = self.map.moved(slot, place)
        self.whole.clear()
        self._prefer = place
        self.hurry()
        self._tell()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                hurries = self._hurries
                await self.refresh()
                await self._pause(LOOK if self.map is None else PERIOD, hurries)
        finally:
            for line in self._lines.values():
                line.drop("closed")
            self._lines.clear()

    async def refresh(self) -> None:
        """Ask one node after the other until one knows; listeners are told in any case."""
        async with self._looking:  # or two would connect to the same node, and forget one connection
            await self._refresh()
        self._tell()

    async def _refresh(self) -> None:
        for place in self._order():
            self._asked[place] = self._clock.monotonic()
            try:
                found = await self._ask(place)
            except (OSError, TimeoutError, BusError) as error:
                self._failures[place] = self._failures.get(place, 0) + 1
                self.trouble = f"no node of the cluster answers: {why(error)}"
                continue
            self._failures[place] = 0
            if found is not None and self._newest(found):
                if found != self.map:  # else what was found out about the map stays
                    self.map = found
                self.whole.set()
                break

    def _order(self) -> list[Place]:
        """Whom to ask: those that answered when they were asked last, and among them whose turn it is longest."""
        known: Iterable[Place] = self.map.masters if self.map is not None else ()
        places = dict.fromkeys((*known, *self._seeds))
        for place in set(self._lines) - set(places):
            self._lines.pop(place).drop("closed")
        order = sorted(places, key=lambda p: (self._failures.get(p, 0), self._asked.get(p, -math.inf)))
        prefer, self._prefer = self._prefer, None
        if prefer is not None:
            order.insert(0, prefer)
        return order

    async def _ask(self, place: Place) -> SlotMap | None:
        """What a node says; None when it is cut off, or the cluster is down."""
        line = self._lines.get(place)
        if line is None or line.lost is not None:
            line = self._lines[place] = await self._dialer.dial(place)
        try:
            async with asyncio.timeout(PATIENCE):
                replies: list[Any] = await line.asks([("CLUSTER", "INFO"), ("CLUSTER", "SLOTS")])
        except BaseException:
            line.drop("no reply in time")
            raise
        for reply in replies:
            if isinstance(reply, BusError):
                raise reply
        state = read_state(replies[0])
        if not state.fine:
            self.trouble = "the cluster is down: slots without a master, or too few masters"
            return None
        return read_slots(replies[1], place, state.epoch)

    def _newest(self, found: SlotMap) -> bool:
        """Whether to believe it: not what is older than what is known, unless everybody says so."""
        if self.map is None or found.epoch >= self.map.epoch:
            self._stale = 0
            return True
        self._stale += 1
        return self._stale > 2 * len(self._order())
