"""Does to a world what a nemesis has thought out, and writes down when."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from tests.faults.ledger import Drained, Fault, Ledger
from tests.faults.nemesis import Kind, Step
from tests.faults.witness import Now, Witness
from tests.faults.world import World
from tests.redis_node import Node
from tests.servers import Cluster

REDIS: Final = "redis"
BEFORE: Final = 1.0
"""Seconds before a master is lost in which what was written may not have reached a replica."""
MOVED: Final = 12
"""Slots that move at a time."""
COSTS: Final = frozenset({Kind.DELAY, Kind.HALF_OPEN})
"""Faults that nobody takes for a crash."""


def targets(world: World) -> Mapping[Kind, Sequence[str]]:
    """What can be hit there."""
    roles, wires, doors = list(world.roles), [f"wire {n}" for n in world.wires], [f"door {n}" for n in world.doors]
    kind = world.site.kind
    redis, many = [REDIS], [REDIS] if kind != "one" else []
    return {
        Kind.KILL: roles,
        Kind.PAUSE: roles,
        Kind.DRAIN: list(world.doors),
        Kind.CUT: wires + doors,
        Kind.HOLD: wires + doors,
        Kind.DELAY: wires + doors,
        Kind.RESET: wires + doors,
        Kind.HALF_OPEN: doors,
        Kind.RESTART: redis if kind == "one" else [],
        Kind.HANG: redis,
        Kind.FAIL_OVER: many,
        Kind.HAND_OVER: many,
        Kind.LAG: many,
        Kind.MOVE: redis if kind == "cluster" else [],
    }


class Mischief:
    """`perform` returns when the fault is over."""

    def __init__(self, world: World, ledger: Ledger, now: Now, devices: Sequence[Witness]) -> None:
        self._world, self._ledger, self._now, self._devices = world, ledger, now, devices
        # A fail-over and a drain take as long as they take, and the next fault of the same target waits for it.
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._doing: Final[Mapping[Kind, Callable[[Step], Awaitable[frozenset[int]]]]] = {
            Kind.KILL: self._kill,
            Kind.PAUSE: self._pause,
            Kind.DRAIN: self._drain,
            Kind.CUT: self._on_link,
            Kind.HOLD: self._on_link,
            Kind.DELAY: self._on_link,
            Kind.RESET: self._on_link,
            Kind.HALF_OPEN: self._on_link,
            Kind.RESTART: self._restart,
            Kind.HANG: self._hang,
            Kind.FAIL_OVER: self._fail_over,
            Kind.HAND_OVER: self._hand_over,
            Kind.LAG: self._lag,
            Kind.MOVE: self._move,
        }

    async def perform(self, step: Step) -> None:
        """One fault, from its beginning to its end."""
        async with self._turns[step.target]:
            await self._perform(step)

    async def _perform(self, step: Step) -> None:
        began = self._now()
        loses = await self._doing[step.kind](step)
        since = began - BEFORE if loses else began
        self._ledger.faults.append(Fault(str(step), since, self._now(), step.kind not in COSTS, loses))

    # Roles -------------------------------------------------------------------------------------------------------

    async def _kill(self, step: Step) -> frozenset[int]:
        role = self._world.roles[step.target]
        await asyncio.to_thread(role.kill)
        await asyncio.sleep(step.lasts)
        role.start()
        return frozenset()

    async def _pause(self, step: Step) -> frozenset[int]:
        pid = self._world.roles[step.target].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(step.lasts)
        finally:
            os.kill(pid, signal.SIGCONT)
        return frozenset()

    async def _drain(self, step: Step) -> frozenset[int]:
        role, door = self._world.roles[step.target], self._world.doors[step.target]
        leaving = [device for device in self._devices if device.port == door.port and device.ready.is_set()]
        at = self._now()
        await asyncio.to_thread(role.end)
        for device in leaving:
            async with asyncio.timeout(30):
                await device.ready.wait()
            self._ledger.drained.append(Drained(device.user, at, self._now()))
        role.start()
        return frozenset()

    # Links -------------------------------------------------------------------------------------------------------

    async def _on_link(self, step: Step) -> frozenset[int]:
        form, _, name = step.target.partition(" ")
        link = (self._world.wires if form == "wire" else self._world.doors)[name]
        if step.kind is Kind.DELAY:
            link.delay(0.1)
        else:
            {Kind.CUT: link.cut, Kind.HOLD: link.hold, Kind.RESET: link.reset, Kind.HALF_OPEN: link.half_open}[
                step.kind
            ]()
        await asyncio.sleep(step.lasts)
        link.heal()
        return frozenset()

    # Redis -------------------------------------------------------------------------------------------------------

    async def _restart(self, step: Step) -> frozenset[int]:
        site = self._world.site
        await asyncio.to_thread(site.kill)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(site.restart)
        return frozenset()  # appendfsync always

    async def _hang(self, step: Step) -> frozenset[int]:
        site = self._world.site
        site.pause()
        try:
            await asyncio.sleep(step.lasts)
        finally:
            site.resume()
        await asyncio.to_thread(self.forget_slowness)
        return frozenset()

    async def _fail_over(self, step: Step) -> frozenset[int]:
        master = await self._a_master()
        held = await asyncio.to_thread(self._partitions, master)
        await asyncio.to_thread(master.kill)
        await asyncio.to_thread(self._world.site.replaced, master)
        await self._back(master)
        return held

    async def _hand_over(self, step: Step) -> frozenset[int]:
        master = await self._a_master()
        held = await asyncio.to_thread(self._partitions, master)
        await asyncio.to_thread(self._world.site.failover, master)
        await self._whole()
        return frozenset() if self._world.site.kind == "cluster" else held

    async def _lag(self, step: Step) -> frozenset[int]:
        site, master = self._world.site, await self._a_master()
        held = await asyncio.to_thread(self._partitions, master)
        await asyncio.to_thread(site.cut_replication, master)
        await asyncio.sleep(step.lasts)
        await asyncio.to_thread(master.kill)
        await asyncio.to_thread(site.replaced, master)
        await self._back(master)
        await asyncio.to_thread(site.heal_replication, master)
        return held

    async def _move(self, step: Step) -> frozenset[int]:
        site = self._world.site
        assert isinstance(site, Cluster)
        await asyncio.to_thread(site.move_slots, MOVED)
        return frozenset()

    def forget_slowness(self) -> None:
        """A script amid which its server was frozen seems to have taken that long."""
        for master in self._world.site.masters():
            master.ask("SLOWLOG", "RESET")

    async def _a_master(self) -> Node:
        masters = await asyncio.to_thread(self._world.site.masters)
        return masters[len(self._ledger.faults) % len(masters)]

    async def _back(self, node: Node) -> None:
        await asyncio.to_thread(node.start)
        await self._whole()

    async def _whole(self) -> None:
        await asyncio.to_thread(self._world.site.until_whole)

    def _partitions(self, master: Node) -> frozenset[int]:
        """Whose keys it holds."""
        site, keys = self._world.site, self._world.keys
        everything = range(keys.partitions)
        if not isinstance(site, Cluster):
            return frozenset(everything)
        with master.client() as redis:
            held = set(site.slots_of(master))
            return frozenset(
                p for p in everything if redis.execute_command("CLUSTER", "KEYSLOT", keys.events(p)) in held
            )
