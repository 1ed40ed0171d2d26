"""A worker: says that it lives, leases the partitions that fall to it, and works each of them.

What it keeps in memory can be lost at any moment: where a partition stands is in Redis, and the next owner goes on
from there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bus.clock import Clock
from bus.consumer import Consumer
from bus.errors import BusError
from bus.keys import Keys
from bus.lease import Fenced, Lease, Leases
from bus.pipe import Pipe
from bus.policy import FANOUT
from bus.queue import Queue
from bus.registry import Registry, owned_by
from fanout.bulk import Lane, lane
from fanout.doorbell import Doorbell
from fanout.ladder.steps import Steps
from fanout.publisher import Publisher
from fanout.resolver import Resolver
from fanout.settings import FanoutSettings
from fanout.stats import Stats
from fanout.timers import Timers

BEATS: Final = 4
"""Heartbeats per lifetime of a lease."""
IMPATIENT: Final = 0.1
"""How soon we ask again for a partition that its last owner still has, in seconds."""

Connect = Callable[[int], Pipe]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Work:
    """A partition being worked."""

    lease: Lease
    consumer: Consumer
    timers: Timers
    bulk: Lane
    task: asyncio.Task[None] | None = None
    leaving: bool = False


class Worker:
    """`run` until told to stop.

    `pipe` carries the work, `control` the heartbeats, which must not wait behind it: a lease that ran out while it was
    being renewed would have a burst done again and again. `connect` makes the connection of a partition's doorbell.
    """

    def __init__(
        self,
        name: str,
        pipe: Pipe,
        control: Pipe,
        connect: Connect,
        keys: Keys,
        publisher: Publisher,
        steps: Steps,
        settings: FanoutSettings,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._name, self._pipe, self._connect, self._keys = name, pipe, connect, keys
        self._publisher, self._steps, self._settings = publisher, steps, settings
        self._clock, self._stats = clock, stats
        self._registry = Registry(control, keys.workers, name, settings.worker_ttl)
        self._leases = Leases(control, keys, name, settings.lease_ttl)
        self._nodes = Registry(control, keys.nodes, name, settings.worker_ttl)
        self._interval = min(settings.worker_ttl, settings.lease_ttl) / BEATS
        self._turns = asyncio.Semaphore(1)
        """Of the bulk lanes: a step of one at a time, so that the live lanes wait for one at most."""
        self._work: dict[int, Work] = {}

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions held now."""
        return tuple(self._work)

    def wake(self, partition: int) -> None:
        """Look at the timers of a partition, if it is ours."""
        if (work := self._work.get(partition)) is not None:
            work.timers.wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what was taken, give the leases back, and be gone."""
        async with asyncio.TaskGroup() as group:
            while not stop.is_set():
                wait = await self._beat(group)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await stop.wait()
            await self._finish()

    # Which partitions --------------------------------------------------------------------------------------------

    async def _beat(self, group: asyncio.TaskGroup) -> float:
        """Renew everything, begin and end what has to; returns after how many seconds to beat again."""
        try:
            self._publisher.nodes = await self._nodes.members()
            mine = owned_by(self._name, await self._registry.beat(), self._keys.partitions)
            for partition in self._work.keys() - mine:
                self._leave(self._work[partition])
            held = await self._leases.hold(mine | self._work.keys())
        except BusError as error:
            # The leases run out by themselves; until then, and without others to tell, we go on.
            log.warning("no heartbeat", extra={"worker": self._name, "reason": str(error)})
            return self._interval
        for partition, lease in held.items():
            self._update(group, partition, lease, partition in mine)
        await self._give_back(lease for lease in held.values() if lease is not None)
        self._stats.leases = len(self._work)
        missing = any(held[partition] is None for partition in mine)
        return min(IMPATIENT, self._interval) if missing else self._interval

    def _update(self, group: asyncio.TaskGroup, partition: int, lease: Lease | None, mine: bool) -> None:
        work = self._work.get(partition)
        if work is not None and work.lease != lease:
            self._abandon(work)
            work = None
        if work is None and lease is not None and mine:
            self._begin(group, lease)

    async def _give_back(self, held: Iterable[Lease]) -> None:
        """Release what was renewed in the moment in which its work ended."""
        for lease in held:
            if lease.partition not in self._work:
                with suppress(BusError):
                    await self._leases.release(lease)

    def _begin(self, group: asyncio.TaskGroup, lease: Lease) -> None:
        settings = self._settings
        queue = Queue(
            self._pipe, self._keys, lease, batch=settings.batch, keep=settings.keep_acked, dead=settings.dead_size
        )
        timers = Timers(self._pipe, self._keys, lease, self._steps)
        resolver = Resolver(lease.partition, self._publisher, timers, self._clock, self._stats)
        line = self._connect(lease.partition)
        bell = Doorbell(line, self._keys.events(lease.partition))
        bulk = lane(
            self._pipe,
            self._connect(lease.partition),
            self._keys,
            lease,
            self._publisher,
            settings,
            self._clock,
            self._stats,
            self._turns,
        )
        work = Work(lease, Consumer(queue, resolver.handle, FANOUT, bell, self._stats.queues), timers, bulk)
        self._work[lease.partition] = work
        work.task = group.create_task(self._run(work, line))

    def _leave(self, work: Work) -> None:
        """End after the batch under way."""
        work.leaving = True
        work.consumer.stop()
        work.bulk.consumer.stop()

    def _abandon(self, work: Work) -> None:
        """End at once: the lease is over."""
        self._stats.leases_lost += not work.leaving
        self._forget(work)
        if work.task is not None:
            work.task.cancel()

    def _forget(self, work: Work) -> None:
        partition = work.lease.partition
        if self._work.get(partition) is work:
            del self._work[partition]

    # Working one -------------------------------------------------------------------------------------------------

    async def _run(self, work: Work, line: Pipe) -> None:
        partition = work.lease.partition
        try:
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(run) for run in (line.run(), work.bulk.line.run(), work.timers.run())]
                walks = group.create_task(work.bulk.consumer.run())
                await work.consumer.run()
                await walks
                for task in beside:
                    task.cancel()
        except* Fenced:
            self._stats.leases_lost += 1
            log.info("a partition has another owner", extra={"worker": self._name, "partition": partition})
        else:
            # What is not given back runs out.
            with suppress(BusError):
                await self._leases.release(work.lease)
        finally:
            self._forget(work)

    async def _finish(self) -> None:
        tasks = [work.task for work in self._work.values() if work.task is not None]
        for work in tuple(self._work.values()):
            self._leave(work)
        if tasks:
            await self._patiently(tasks)
        with suppress(BusError):
            await self._registry.leave()

    async def _patiently(self, tasks: Iterable[asyncio.Task[None]]) -> None:
        _, late = await asyncio.wait(tasks, timeout=self._settings.stop_timeout)
        for task in late:
            task.cancel()
