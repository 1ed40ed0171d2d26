"""The delivery worker of one channel: leases of its partitions' jobs, and one window for all that is under way."""

from __future__ import annotations

import asyncio
from typing import Final

from bus.consumer import Consumer
from bus.jobs import Jobs
from bus.lease import Lease, Leases
from bus.pipe import Pipe
from bus.policy import SENDERS
from bus.registry import Registry
from bus.window import Window
from fanout.deliver.bells import Bells
from fanout.deliver.deliverer import Deliverer, Office
from fanout.deliver.settings import DeliverSettings
from fanout.tenancy import Tenancy

HELPINGS: Final = 4
"""A partition takes at most one place in so many of the window at a time, so that none takes them all."""


class ChannelWorker:
    """`run` until told to stop. `control` carries the heartbeats, `line` the blocked read."""

    def __init__(self, name: str, office: Office, control: Pipe, line: Pipe, settings: DeliverSettings) -> None:
        self._office, self._settings, self._keys = office, settings, office.keys
        self._window = Window(settings.concurrency(office.channel))
        self._bells = Bells(line)
        self._line = line
        registry = Registry(control, self._keys.deliverers(office.channel), name, settings.worker_ttl)
        leases = Leases(control, self._keys, name, settings.lease_ttl, office.channel)
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
            beside = (group.create_task(self._line.run()), group.create_task(self._bells.run()))
            await self._tenancy.run(stop)
            for task in beside:
                task.cancel()
        await self._office.guard.close()

    def _begin(self, lease: Lease) -> Consumer:
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
        bell = self._bells.of(self._keys.jobs(lease.partition, office.channel))
        policy = SENDERS[office.channel]
        return Consumer(jobs, deliverer.handle, policy, bell, office.stats.queues, window=self._window)
