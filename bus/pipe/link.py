"""The connection to one master of a cluster: made anew when it is lost, made ready for every slot that comes to it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from bus.address import Place
from bus.connect import BACKOFF, COMMAND_TIMEOUT, MAX_IN_FLIGHT
from bus.errors import BusDown, BusError, Overloaded, Refused
from bus.pipe.arrival import Server, run_id_of
from bus.pipe.dial import why
from bus.pipe.line import Line, Reply, pack

if TYPE_CHECKING:
    from bus.pipe.cluster import Cluster, Sent

ELSEWHERE: Final = frozenset(("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"))
"""A slot is not, or not wholly, where it was looked for: to be tried again, and no fault of the connection."""
AGAIN: Final = 0.2
"""Seconds after which a slot is tried again."""
WHOLE: Final = 1.0
"""Seconds for which slots that come to a connection wait for a whole map."""
LINGER: Final = 5.0
"""Seconds for which a connection is kept to a master that was asked while it was getting a slot."""
ASKING: Final = pack(("ASKING",))

log = logging.getLogger(__name__)


class Link:
    """It is one of these: being made for the first time (commands wait), up, or away (commands fail at once)."""

    def __init__(self, road: Cluster, place: Place) -> None:
        self._road, self.place = road, place
        self._line: Line | None = None
        self.away = False
        self.run_id = ""
        """Of the server, while there is a connection."""
        self.tried = asyncio.Event()
        """Whether it can be reached is known."""
        self._arrived: frozenset[int] = frozenset()
        """The slots for which all was done that comes before traffic."""
        self._parked: deque[Sent] = deque()
        self._asked = -LINGER
        self._news, self._retired = asyncio.Event(), asyncio.Event()

    # Commands ----------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether there is a connection."""
        return self._line is not None

    @property
    def idle(self) -> bool:
        """Whether nobody waits for it."""
        busy = self._line is not None and self._line.waiting
        recent = self._road.clock.monotonic() - self._asked < LINGER
        return not (busy or self._parked or (recent and not self.away))

    def send(self, sent: Sent) -> None:
        """Send a command, or let it wait for the first connection, or for its slot to arrive here."""
        sent.link = self
        if sent.asking:
            self._asked = self._road.clock.monotonic()
        line = self._line
        if line is not None and (sent.slot in self._arrived or self._open_for(sent)):
            self._put(line, sent)
        elif line is None and self.away:
            sent.fail(BusDown(f"no connection to Redis at {self.place.host}:{self.place.port}"))
        elif len(self._parked) < MAX_IN_FLIGHT:
            self._parked.append(sent)
        else:
            sent.fail(Overloaded("too many commands in flight"))

    def _open_for(self, sent: Sent) -> bool:
        """Whether it may be sent, though nothing is known to have been done for its slot."""
        return self._road.arrival is None or sent.asking or sent.slot is None

    def _put(self, line: Line, sent: Sent) -> None:
        if line.choked or len(line.waiting) >= MAX_IN_FLIGHT:
            sent.fail(Overloaded("too many commands in flight"))
            return
        if sent.asking:
            line.send(ASKING, _ignore)
        line.send(sent.packed, sent)

    def _unpark(self) -> None:
        """Send what waited. A slot that still cannot be reached is being moved."""
        parked, self._parked = self._parked, deque()
        for sent in parked:
            if self._line is not None and (sent.slot in self._arrived or self._open_for(sent)):
                self._put(self._line, sent)
            elif not sent.bound and sent.slot is not None and self._road.map.owners[sent.slot] != self.place:
                self._road.send(sent)
            else:
                sent.fail(Refused("TRYAGAIN the slot is being moved"))

    # The connection ----------------------------------------------------------------------------------------------

    def look(self) -> None:
        """It may have other slots now."""
        self._news.set()

    def retire(self) -> None:
        """It is no master any more."""
        self._retired.set()
        if self._line is not None:
            self._line.drop("it is no master any more")

    async def run(self) -> None:
        """Keep the connection until it is retired."""
        failures = 0
        try:
            while not self._retired.is_set():
                try:
                    line = await self._connect()
                except (OSError, TimeoutError, BusError) as error:
                    if failures == 0:
                        log.warning("no connection to Redis", extra={"client": self._client, "reason": why(error)})
                    self._gone(why(error))
                else:
                    failures = 0
                    await self._keep(line)
                    reason = line.lost or ""
                    if not self._retired.is_set():
                        log.warning("connection to Redis lost", extra={"client": self._client, "reason": reason})
                    self._gone(reason)
                with suppress(TimeoutError):
                    async with asyncio.timeout(BACKOFF[min(failures, len(BACKOFF) - 1)]):
                        await self._retired.wait()
                failures += 1
        finally:
            self._gone("closed")

    @property
    def _client(self) -> str:
        """Whose connection it is, and where to, for the log."""
        return f"{self._road.dialer.name} to {self.place.host}:{self.place.port}"

    async def _connect(self) -> Line:
        self._arrived = frozenset()
        line = await self._road.dialer.dial(self.place)
        if self._road.arrival is None:
            return line
        line.on_lost = self._forget
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                self.run_id = await run_id_of(line)
                self.tried.set()
                await self._road.all_tried()
                await self._settle(line)
        except BaseException:
            line.drop("could not connect")
            raise
        return line

    async def _keep(self, line: Line) -> None:
        """Offer the connection until it is lost."""
        # It may have been lost between its greeting and now, or be wanted no more; then it is offered to nobody.
        if self._retired.is_set():
            line.drop("it is no master any more")
        if line.lost is None:
            self._line, self.away = line, False
            line.on_lost = self._forget
            self.tried.set()
            self._unpark()
            self._road.told()
        async with asyncio.TaskGroup() as group:
            looking = group.create_task(self._follow(line))
            await line.keep(self._road.timeout)
            looking.cancel()

    def _forget(self) -> None:
        self._line, self.run_id, self.away = None, "", True
        self._road.told()

    def _gone(self, reason: str) -> None:
        """There is no connection: nobody waits for it, and perhaps another master has its slots."""
        self._forget()
        self.tried.set()
        parked, self._parked = self._parked, deque()
        for sent in parked:
            sent.fail(BusDown(f"connection to Redis lost: {reason}"))
        self._road.watch.hurry()

    # Its slots ---------------------------------------------------------------------------------------------------

    async def _follow(self, line: Line) -> None:
        """Introduce the connection to slots that come to it, for ever."""
        if self._road.arrival is None:
            return
        settled = True
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(None if settled else AGAIN):
                    await self._news.wait()
            self._news.clear()
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT):
                    settled = await self._settle(line)
            except (TimeoutError, BusError) as error:
                line.drop(f"could not be made ready for new slots: {why(error)}")
                return
            self._unpark()

    async def _settle(self, line: Line) -> bool:
        """Do for the slots that are new here what comes before traffic; whether that was possible for all."""
        if self._road.map.slots_of(self.place) is self._arrived:
            return True
        if self._road.map.slots_of(self.place) - self._arrived and not await self._map_is_whole():
            return False
        owned = self._road.map.slots_of(self.place)
        self._arrived &= owned
        if fresh := owned - self._arrived:
            await self._introduce(line, fresh)
        if not owned <= self._arrived:
            return False
        self._arrived = owned  # the same slots, and most looks find out by this alone that there is nothing to do
        return True

    async def _map_is_whole(self) -> bool:
        """Whether it is known, or soon is, who the masters are: else one that was replaced would count as a peer."""
        whole = self._road.watch.whole
        with suppress(TimeoutError):
            async with asyncio.timeout(WHOLE):
                await whole.wait()
        return whole.is_set()

    async def _introduce(self, line: Line, slots: frozenset[int]) -> None:
        """For these, as far as they are here. One that is just being moved must not keep the others waiting."""
        assert self._road.arrival is not None
        try:
            await self._road.arrival(line.asks, Server(self.run_id, self._road.peers(self)), slots)
        except Refused as refusal:
            if refusal.code not in ELSEWHERE:
                raise
            self._road.watch.hurry()
            if len(slots) > 1:
                half = sorted(slots)[: len(slots) // 2]
                await self._introduce(line, frozenset(half))
                await self._introduce(line, slots.difference(half))
        else:
            self._arrived |= slots


def _ignore(reply: Reply) -> None:
    """What ASKING is answered says nothing: the command behind it tells."""
