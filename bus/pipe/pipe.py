"""What everybody sends commands with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from bus.clock import Clock
from bus.connect import COMMAND_TIMEOUT, MAX_IN_FLIGHT
from bus.errors import BusDown, Overloaded, Refused
from bus.pipe.arrival import Arrival
from bus.pipe.cluster import Cluster
from bus.pipe.commands import Commands, Master
from bus.pipe.direct import Direct
from bus.pipe.line import Arg, Line, OnReply, fail_soon, pack
from bus.pipe.routing import SlotMap
from bus.pipe.topology import Topology
from bus.pipe.watch import ClusterWatch
from bus.scripts import all_scripts

PATIENCE: Final = 5.0
"""Seconds that a command of the command line waits for Redis."""
ROUNDS: Final = 3
"""So often all keys are gone through anew because slots were moved meanwhile."""


class Pipe(Commands):
    """Use: `async with asyncio.TaskGroup() as g: g.create_task(pipe.run())`, then `post` or `ask`.

    `where`: the URL of a Redis, or the `Topology` that pipes of one process share. `timeout` is how many seconds a
    reply may take; `scripts`: whether Lua scripts will be run on it; `arrival`: what comes first on every connection.
    While there is no connection, every command fails at once with `BusDown`; `run` keeps trying to connect.

    Of a cluster: a connection to each master, made at first use, with an `arrival` at once; a command goes to the
    master of its slot, and one for a master that is away fails at once with `BusDown` while the others go on. Raises
    `BadSetting` for a URL that is none.
    """

    def __init__(
        self,
        where: str | Topology,
        *,
        name: str,
        clock: Clock,
        timeout: float = COMMAND_TIMEOUT,
        scripts: bool = True,
        arrival: Arrival | None = None,
    ) -> None:
        topology = where if isinstance(where, Topology) else Topology(where, clock=clock)
        dialer = topology.dialer(name, all_scripts() if scripts else ())
        self._line: Line | None = None
        """Of one server or of the named master. In a cluster there is never one that is for all commands."""
        self._trouble = ""
        self._up, self._tried = asyncio.Event(), asyncio.Event()
        self._road: Direct | Cluster
        if isinstance(topology.watch, ClusterWatch):
            self._road = Cluster(topology, dialer, clock, timeout, arrival, self._told)
        else:
            self._road = Direct(topology, dialer, timeout, arrival, self._offered)

    async def run(self) -> None:
        """Keep the connections. Ends when cancelled."""
        await self._road.run()

    # Whether there is one ----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether commands can be sent now, to at least one master."""
        return self._up.is_set()

    @property
    def cluster(self) -> bool:
        """Whether keys are spread over several masters, so that no blocked read can be for several partitions."""
        return isinstance(self._road, Cluster)

    async def wait_up(self, timeout: float) -> None:
        """Return once connected. Raises `BusDown` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError:
            raise self._down() from None

    async def try_up(self, timeout: float) -> None:
        """Return once connected. Raises `BusDown` when the first attempt failed, or after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._tried.wait()
        except TimeoutError:
            raise self._down() from None
        if not self.up:
            raise self._down()

    def _down(self) -> BusDown:
        return BusDown(f"Redis does not answer: {self._trouble}" if self._trouble else "Redis does not answer")

    def _offered(self, line: Line | None, trouble: str) -> None:
        self._line, self._trouble = line, trouble
        self._set_up(line is not None)

    def _told(self) -> None:
        assert isinstance(self._road, Cluster)
        self._trouble = self._road.watch.trouble
        self._set_up(self._road.up)

    def _set_up(self, up: bool) -> None:
        if up:
            self._up.set()
        else:
            self._up.clear()
        if up or self._trouble:
            self._tried.set()

    # Commands ----------------------------------------------------------------------------------------------------

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        line = self._line
        if line is None:
            self._post_elsewhere(args, on_reply)
        elif line.choked or len(line.waiting) >= MAX_IN_FLIGHT:
            fail_soon(on_reply, Overloaded("too many commands in flight"))
        else:
            line.send(pack(args), on_reply)

    def _post_elsewhere(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        if isinstance(self._road, Cluster):
            self._road.post(args, on_reply)
        else:
            fail_soon(on_reply, BusDown("no connection to Redis"))

    # One master by itself ----------------------------------------------------------------------------------------

    def masters(self) -> tuple[Master, ...]:
        """Each master by itself, for what is about a server and not about a key: SCAN, INFO, CONFIG."""
        return self._road.masters() if isinstance(self._road, Cluster) else (Master("", self.post),)

    def at(self, key: str) -> Master:
        """The master that has this key now: for WAIT behind a write. Raises `BusDown` when no master has it."""
        return self._road.at(key) if isinstance(self._road, Cluster) else Master("", self.post)

    @property
    def map(self) -> SlotMap | None:
        """Which master has which slot; None when this is no cluster."""
        return self._road.map if isinstance(self._road, Cluster) else None

    async def scan(self, pattern: str, count: int) -> AsyncIterator[list[bytes]]:
        """The keys that match a glob, of all masters, some at a time; a key may come more than once.

        Raises `BusError`; TRYAGAIN, which is passing, when slots are being moved, for a key may be passed over then.
        """
        for _ in range(ROUNDS):
            before = await self._settled()
            for master in self.masters():
                cursor = b"0"
                while True:
                    cursor, found = await master.ask("SCAN", cursor, "MATCH", pattern, "COUNT", count)
                    if found:
                        yield found
                    if cursor == b"0":
                        break
            if await self._settled() == before:
                return
        raise Refused("TRYAGAIN slots of the cluster are being moved")

    async def _settled(self) -> SlotMap | None:
        if not isinstance(self._road, Cluster):
            return None
        known = await self._road.settled()
        if known is None:
            raise Refused("TRYAGAIN slots of the cluster are being moved")
        return known


@asynccontextmanager
async def opened(
    where: str | Topology, *, name: str, clock: Clock, scripts: bool = True, patience: float = PATIENCE
) -> AsyncIterator[Pipe]:
    """A connected pipe for the length of a block, for a command that does one thing and ends.

    Raises `BusDown` when Redis cannot be reached at the first attempt, `BadSetting`.
    """
    pipe = Pipe(where, name=name, clock=clock, scripts=scripts)
    try:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(pipe.run())
            try:
                await pipe.try_up(patience)
                yield pipe
            finally:
                running.cancel()
    except BaseExceptionGroup as errors:
        # What went wrong within the block is told as it is.
        if len(errors.exceptions) == 1:
            raise errors.exceptions[0] from None
        raise
