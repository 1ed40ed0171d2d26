"""The delivery worker of one channel: leases of its partitions' jobs, and one window for all that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from bus.consumer import Consumer
from bus.jobs import Jobs
from bus.lease import Lease, Leases
from bus.pipe import Pipe
from bus.policy import SENDERS
from bus.registry import Registry
from bus.window import Window
from fanout.deliver.bells import Alone, Bell, Bells
from fanout.deliver.deliverer import Deliverer, Office
from fanout.deliver.settings import DeliverSettings
from fanout.doorbell import Doorbell
from fanout.tenancy import Tenancy, Work

HELPINGS: Final = 4
"""A partition takes at most one place in so many of the window at a time, so that none takes them all."""


class ChannelWorker:
    """`run` until told to stop. `control` carries the heartbeats; `connect` makes connections for blocked reads: one
    for all partitions, of a cluster one for each."""

    def __init__(
        self, name: str, office: Office, control: Pipe, connect: Callable[[], Pipe], settings: DeliverSettings
    ) -> None:
        self._office, self._settings, self._keys = office, settings, office.keys
        self._window = Window(settings.concurrency(office.channel))
        self._connect, self._line = connect, connect()
        self._bells = Bells(self._line)
        registry = Registry(control, self._keys.deliverers(office.channel), name, settings.worker_ttl)
        leases = Leases(control, self._keys, name, settings.lease_ttl, office.channel, settings.worker_ttl)
        self._tenancy = Tenancy(
            name,
            registry,
            leases,
            self._keys.partitions,
            self._begin,
            office.stats,
            office.clock,
            ttl=min(settings.worker_ttl, settings.lease_ttl),
            patience=settings.stop_timeout,
        )

    @property
    def partitions(self) -> tuple[int, ...]:
        """The partitions whose jobs are held now."""
        return self._tenancy.partitions

    @property
    def silence(self) -> float:
        """Seconds since the last heartbeat that was answered."""
        return self._tenancy.silence

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop`, then finish what is under way and give the leases back."""
        async with asyncio.TaskGroup() as group:
            waiting = () if self._line.cluster else (self._line.run(), self._bells.run())
            beside = [group.create_task(work) for work in waiting]
            await self._tenancy.run(stop)
            for task in beside:
                task.cancel()
        await self._office.guard.close()

    def _begin(self, lease: Lease) -> Work:
        self._office.stats.leases_taken += 1
        office, settings = self._office, self._settings
        deliverer = Deliverer(office, lease.partition)
        jobs = Jobs(
            office.pipe,
            self._keys,
            lease,
            office.channel,
            deliverer.note,
            office.clock,
            batch=max(1, self._window.size // HELPINGS),
            dead=settings.dead_size,
            ttl=settings.inbox_ttl,
        )
        stream, policy = self._keys.jobs(lease.partition, office.channel), SENDERS[office.channel]

        def consumer(bell: Bell | Doorbell) -> Consumer:
            return Consumer(jobs, deliverer.handle, policy, bell, office.stats.queues, window=self._window)

        if not self._line.cluster:
            return consumer(self._bells.of(stream))
        line = self._connect()
        return Alone(consumer(Doorbell(line, stream)), line)
