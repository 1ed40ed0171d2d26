"""The way to the masters of a cluster: a connection to each that is needed, and each command to the one of its slot.

A redirection says that the command was not executed, so it is sent again where it points, a few times at most. Nothing
else is ever sent again. Commands of one slot are sent in the order in which they came: to a master to which there is
no connection yet they wait for it, and for one that is away they fail at once, so that it holds up nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from bus.address import Place
from bus.clock import Clock
from bus.errors import BusDown, BusError, Refused
from bus.pipe.arrival import Arrival
from bus.pipe.commands import Master
from bus.pipe.dial import Dialer
from bus.pipe.line import Arg, OnReply, Reply, fail_soon, pack
from bus.pipe.link import Link
from bus.pipe.routing import Moved, SlotMap, moving, prepared, read_redirection, slot_of
from bus.pipe.topology import Topology
from bus.pipe.watch import ClusterWatch

HOPS: Final = 5
"""So often a command follows a redirection; masters that go on pointing at each other have not agreed yet."""


class Sent:
    """A command on its way, and what its reply means for it."""

    __slots__ = ("asking", "bound", "hops", "link", "on_reply", "packed", "road", "slot")

    def __init__(self, road: Cluster, args: Sequence[Arg], on_reply: OnReply) -> None:
        self.road, self.on_reply = road, on_reply
        self.slot, ready = prepared(args)
        self.packed = pack(ready)
        self.link: Link | None = None
        self.asking = False
        """It goes to a master that is still getting its slot."""
        self.hops = 0
        self.bound = False
        """It is for the master that it is sent to, and for no other."""

    def __call__(self, reply: Reply) -> None:
        if type(reply) is not Refused or not self.road.refused(self, reply):
            self.on_reply(reply)

    def fail(self, error: BusError) -> None:
        """It was not sent."""
        fail_soon(self.on_reply, error)


class Cluster:
    """The connections of one pipe. `told` is called when it may be up or down now."""

    def __init__(
        self,
        topology: Topology,
        dialer: Dialer,
        clock: Clock,
        timeout: float,
        arrival: Arrival | None,
        told: Callable[[], None],
    ) -> None:
        assert isinstance(topology.watch, ClusterWatch)
        self._topology, self.watch = topology, topology.watch
        self.dialer, self.clock, self.timeout, self.arrival, self.told = dialer, clock, timeout, arrival, told
        self._links: dict[Place, Link] = {}
        self._ways: dict[int | None, Link] = {}
        """The connection for each slot that was asked for since the masters were last looked at: to find it anew for
        every command takes a microsecond. Empty while nothing may be sent."""
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        self.watch.listeners.add(self._looked)
        try:
            async with asyncio.TaskGroup() as self._group:
                self._group.create_task(self._topology.run())
                self._looked()
                try:
                    await asyncio.Event().wait()
                finally:
                    # Before the group ends: nothing that is sent or seen meanwhile must begin a connection in it.
                    self._group = None
                    self._ways.clear()
                    self.watch.listeners.discard(self._looked)
        finally:
            self._links.clear()
            self.told()

    # What is known -----------------------------------------------------------------------------------------------

    @property
    def map(self) -> SlotMap:
        """Who has which slot, as far as known."""
        return self.watch.map or SlotMap()

    @property
    def up(self) -> bool:
        """Whether commands can be sent to at least one master. Where connections are made at first use only, a master
        that was not tried yet will do."""
        if self._group is None or self.watch.map is None:
            return False
        if self.arrival is None and not self._links:
            return True
        return any(link.up or (self.arrival is None and not link.away) for link in self._links.values())

    def peers(self, of: Link) -> frozenset[str]:
        """Run ids of the other masters that have slots and are connected."""
        masters = set(self.map.masters)
        others = (link for link in self._links.values() if link is not of and link.place in masters)
        return frozenset(link.run_id for link in others if link.run_id)

    async def all_tried(self) -> None:
        """Until it is known of every master whether it can be reached: who the peers are."""
        for link in tuple(self._links.values()):
            await link.tried.wait()

    def _looked(self) -> None:
        """The masters may be others now, and slots elsewhere."""
        self._ways.clear()
        masters = self.map.masters
        if self.arrival is not None:
            for place in masters:
                self._link(place)
        for place, link in tuple(self._links.items()):
            if place not in masters and link.idle:
                del self._links[place]
                link.retire()
            else:
                link.look()
        self.told()

    # Sending -----------------------------------------------------------------------------------------------------

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        """Send a command to the master of its slot; one without a key to any."""
        sent = Sent(self, args, on_reply)
        link = self._ways.get(sent.slot)
        if link is None:
            self.send(sent)
        else:
            link.send(sent)

    def send(self, sent: Sent) -> None:
        """Send it where it belongs by what is known now."""
        known = self.watch.map
        if known is None or self._group is None:
            sent.fail(BusDown("no connection to Redis"))
            return
        place = self._anyone() if sent.slot is None else known.owners[sent.slot]
        if place is None:
            sent.fail(Refused("CLUSTERDOWN no master has this slot"))
            self.watch.hurry()
        else:
            link = self._link(place)
            if sent.slot is not None:
                self._ways[sent.slot] = link
            link.send(sent)

    def _link(self, place: Place) -> Link:
        link = self._links.get(place)
        if link is None:
            link = self._links[place] = Link(self, place)
            assert self._group is not None
            self._group.create_task(link.run())
        return link

    def _anyone(self) -> Place | None:
        connected = (link.place for link in self._links.values() if link.up)
        return next(connected, next(iter(self.map.masters), None))

    def refused(self, sent: Sent, refusal: Refused) -> bool:
        """Follow a redirection; False when it is none, or there were too many."""
        if refusal.code == "CLUSTERDOWN":
            self.watch.hurry()
        if sent.link is None or (to := read_redirection(str(refusal), sent.link.place)) is None:
            return False
        if isinstance(to, Moved):
            self.watch.moved(to.slot, to.place)
        if sent.bound or sent.hops >= HOPS or self._group is None:
            return False
        sent.hops += 1
        sent.asking = not isinstance(to, Moved)
        if isinstance(to, Moved):
            self.send(sent)
        else:
            self._link(to.place).send(sent)
        return True

    # All of them -------------------------------------------------------------------------------------------------

    def masters(self) -> tuple[Master, ...]:
        """Each by itself."""
        return tuple(self._master(place, None) for place in self.map.masters)

    def at(self, key: str) -> Master:
        """The one that has this key now. Raises `BusDown` when there is none."""
        slot = slot_of(key.encode())
        place = self.map.owners[slot]
        if place is None:
            raise BusDown("no master has this slot")
        return self._master(place, slot)

    def _master(self, place: Place, slot: int | None) -> Master:
        def post(args: Sequence[Arg], on_reply: OnReply) -> None:
            sent = Sent(self, args, on_reply)
            sent.bound, sent.slot = True, slot
            if self._group is None:
                sent.fail(BusDown("no connection to Redis"))
            else:
                self._link(place).send(sent)

        return Master(f"{place.host}:{place.port}", post)

    async def settled(self) -> SlotMap | None:
        """Who has which slot; None while slots are being moved. Raises `BusError`."""
        await self.watch.refresh()
        for master in self.masters():
            if moving(await master.ask("CLUSTER", "NODES")):
                return None
        return self.map
