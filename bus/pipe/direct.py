"""The way to one master: the server of the URL, or whom the sentinels name."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bus.address import OneServer, Place, Socket
from bus.connect import BACKOFF, COMMAND_TIMEOUT
from bus.errors import BusDown, BusError
from bus.pipe.arrival import ALL_SLOTS, Arrival, Server, run_id_of
from bus.pipe.dial import Dialer, why
from bus.pipe.line import Line
from bus.pipe.topology import Topology
from bus.pipe.watch import SentinelWatch

Offer = Callable[[Line | None, str], None]
"""Told of the connection, or that there is none, and why."""

log = logging.getLogger(__name__)


class Direct:
    """Keeps one connection and offers it."""

    def __init__(
        self, topology: Topology, dialer: Dialer, timeout: float, arrival: Arrival | None, offer: Offer
    ) -> None:
        self._topology, self._dialer, self._timeout = topology, dialer, timeout
        self._arrival, self._offer = arrival, offer
        self._watch = topology.watch if isinstance(topology.watch, SentinelWatch) else None
        self._place: Place | Socket | None = None
        self._line: Line | None = None

    async def run(self) -> None:
        """Keep the connection until cancelled."""
        if self._watch is None:
            await self._keep_one()
            return
        self._watch.listeners.add(self._looked)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._topology.run())
                group.create_task(self._keep_one())
        finally:
            self._watch.listeners.discard(self._looked)

    def _looked(self) -> None:
        """The sentinels name another master: this one may be cut off, and what it takes may be lost."""
        assert self._watch is not None
        if self._line is not None and self._watch.master != self._place:
            self._line.drop("another master is named")
        elif self._watch.master is None:
            self._offer(None, self._watch.trouble)

    async def _keep_one(self) -> None:
        failures = 0
        while True:
            try:
                line = await self.connect()
            except (OSError, TimeoutError, BusError) as error:
                if failures == 0:
                    log.warning("no connection to Redis", extra={"client": self._dialer.name, "reason": why(error)})
                self._offer(None, why(error))
            else:
                failures = 0
                await self._keep(line)
                log.warning("connection to Redis lost", extra={"client": self._dialer.name, "reason": line.lost})
            if self._watch is not None:
                self._watch.hurry()
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1

    async def connect(self) -> Line:
        """A connection on which all was done that comes first. Raises `OSError`, `TimeoutError`, `BusError`."""
        self._place = await self._find()
        line = await self._dialer.dial(self._place)
        if self._arrival is None:
            return line
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                await self._arrival(line.asks, Server(await run_id_of(line)), ALL_SLOTS)
        except BaseException:
            line.drop("could not connect")
            raise
        return line

    async def _find(self) -> Place | Socket:
        if isinstance(self._topology.address, OneServer):
            return self._topology.address.place
        assert self._watch is not None
        while self._watch.master is None:
            if self._watch.trouble:
                raise BusDown(self._watch.trouble)
            await asyncio.sleep(BACKOFF[0])
        return self._watch.master

    async def _keep(self, line: Line) -> None:
        """Offer the connection until it is lost."""
        self._line, line.on_lost = line, self._withdraw
        # It may have been lost between its greeting and now, and another master named; then nobody is offered it.
        if line.lost is None:
            self._offer(line, "")
            if self._watch is not None:
                self._looked()
        await line.keep(self._timeout)

    def _withdraw(self) -> None:
        line, self._line = self._line, None
        self._offer(None, line.lost or "" if line is not None else "")
