"""The fan-out worker: leases of partitions, and what is worked under each: ingest, the bulk lane, the timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from bus.allowances import Allowances
from bus.clock import Clock
from bus.consumer import Consumer
from bus.crew import Crew
from bus.door import Door, Place
from bus.errors import BusError
from bus.generation import Generations
from bus.keys import Keys
from bus.lease import Lease, Leases
from bus.pipe import Pipe
from bus.policy import FANOUT
from bus.producers import Producers
from bus.queue import Queue
from bus.registry import Registry
from fanout.bulk import Lane, lane
from fanout.doorbell import Doorbell
from fanout.ladder.steps import Steps
from fanout.publisher import AT_ONCE, HANGING, Publisher
from fanout.replay import Replay
from fanout.resolver import Resolver
from fanout.settings import FanoutSettings
from fanout.shaping import Shaper
from fanout.stats import Stats
from fanout.tenancy import BEATS, DOUBTFUL, Tenancy
from fanout.timers import Timers, rounds

LANES: Final = 1
"""Steps of bulk lanes under way at a time, so that the live lanes wait for one at most."""
LOOK: Final = 2.0
"""Seconds between two looks at the generations of all partitions, also of those that nothing is for."""

Connect = Callable[[int], Pipe]


@dataclass(slots=True)
class _Work:
    """A partition being worked. `line`: the connection on which it waits for events."""

    line: Pipe
    consumer: Consumer
    timers: Timers
    replay: Replay
    bulk: Lane

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            runs = (self.line.run(), self.bulk.line.run(), self.timers.run(), self.replay.run())
            beside = [group.create_task(run) for run in runs]
            walks = group.create_task(self.bulk.consumer.run())
            await self.consumer.run()
            await walks
            for task in beside:
                task.cancel()

    def stop(self) -> None:
        self.consumer.stop()
        self.bulk.consumer.stop()


class Worker:
    """`run` until told to stop.

    `pipe` carries the work, `control` the heartbeats, which must not wait behind it. `connect` makes the connections on
    which a partition waits for more.
    """

    def __init__(
        self,
        name: str,
        pipe: Pipe,
        control: Pipe,
        connect: Connect,
        keys: Keys,
        generations: Generations,
        publisher: Publisher,
        steps: Steps,
        settings: FanoutSettings,
        clock: Clock,
        stats: Stats,
    ) -> None:
        self._pipe, self._control, self._connect, self._keys = pipe, control, connect, keys
        self._generations = generations
        self._publisher, self._steps, self._settings = publisher, steps, settings
        self._clock, self._stats = clock, stats
        ttl = min(settings.worker_ttl, settings.lease_ttl)
        self._nodes = Registry(control, keys.nodes, name, settings.worker_ttl)
        self._crew, self._known, self._pause = Crew(DOUBTFUL * ttl, ttl), asyncio.Event(), ttl / BEATS
        self._turns, self._door = asyncio.Semaphore(LANES), Door(AT_ONCE, HANGING)
        self._timers: dict[int, Timers] = {}
        self._producers, self._allowances = Producers(settings.producers), Allowances(pipe, keys, clock)
        self._tenancy = Tenancy(
            name,
            Registry(control, keys.workers, name, settings.worker_ttl),
            Leases(control, keys, name, settings.lease_ttl, silence=settings.worker_ttl),
            keys.partitions,
            self._begin,
            stats,
            clock,
            ttl=ttl,
            patience=settings.stop_timeout,
        )

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions held now."""
        return self._tenancy.partitions

    @property
    def silence(self) -> float:
        """Seconds since the last heartbeat that was answered."""
        return self._tenancy.silence

    def wake(self, partition: int) -> None:
        """Look at the timers of a partition, if it is ours."""
        if partition in self._tenancy.partitions:
            self._timers[partition].wake()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what was taken, give the leases back, and be gone."""
        async with asyncio.TaskGroup() as group:
            due = rounds(self._pipe, self._keys, self._worked, self._clock)
            looking = [group.create_task(look) for look in (self._look_for_nodes(), self._look_for_failovers(), due)]
            known = group.create_task(self._known.wait())
            stopping = group.create_task(stop.wait())
            # Without this list everybody would be offline.
            await asyncio.wait((known, stopping), return_when=asyncio.FIRST_COMPLETED)
            await self._tenancy.run(stop)
            for task in (*looking, known):
                task.cancel()

    def _worked(self) -> dict[int, Timers]:
        return {partition: self._timers[partition] for partition in self._tenancy.partitions}

    async def _look_for_nodes(self) -> None:
        """Keep the list of living gateway nodes."""
        while True:
            with suppress(BusError):
                listed = await self._nodes.members()
                self._publisher.set_nodes(sorted(self._crew.told(listed, self._clock.monotonic())))
                self._known.set()
            await asyncio.sleep(self._pause)

    async def _look_for_failovers(self) -> None:
        """Meet every partition's server, also where there is nothing to say to it."""
        while True:
            await self._generations.look(self._control)
            await asyncio.sleep(LOOK)

    def _begin(self, lease: Lease) -> _Work:
        self._stats.leases_taken += 1
        p, settings = lease.partition, self._settings
        queue = Queue(
            self._pipe, self._keys, lease, batch=settings.batch, keep=settings.keep_acked, dead=settings.dead_size
        )
        timers = self._timers[p] = Timers(self._pipe, self._keys, lease, self._steps)
        replay = Replay(
            self._pipe,
            self._keys,
            lease,
            self._publisher,
            self._generations,
            self._clock,
            self._stats,
            keep=settings.keep_acked,
        )
        resolver = Resolver(
            p, self._publisher, timers, replay, Shaper(self._producers, self._allowances), self._clock, self._stats
        )
        line = self._connect(p)
        bell = Doorbell(line, self._keys.events(p))
        bulk = lane(
            self._pipe,
            self._connect(p),
            self._keys,
            lease,
            self._publisher,
            settings,
            self._clock,
            self._stats,
            self._turns,
        )
        consumer = Consumer(queue, resolver.handle, FANOUT, bell, self._stats.queues, place=Place(self._door))
        return _Work(line, consumer, timers, replay, bulk)
