"""The delivery worker's process: everything is made and joined here, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from bus.allowances import Allowances
from bus.clock import Clock, SystemClock
from bus.collector import look_rarely
from bus.connect import BLOCK, COMMAND_TIMEOUT
from bus.errors import BusDown, BusError
from bus.fitness import fit
from bus.keys import Keys
from bus.log import configure
from bus.people.categories import Categories
from bus.people.directory import Directory
from bus.people.unsubscribe import make as unsubscribe_token
from bus.people.vault import Vault, unsubscribe_secret
from bus.pipe import Pipe, Topology
from bus.producers import Producers
from bus.server_clock import ServerClock
from fanout.deliver.backlog import read_backlog
from fanout.deliver.compose import Composer
from fanout.deliver.deliverer import Office, Unsubscribe
from fanout.deliver.guard import Guard, Provider
from fanout.deliver.providers import providers
from fanout.deliver.settings import CHANNELS, DeliverSettings, load
from fanout.deliver.stats import ChannelStats, DeliverStats
from fanout.deliver.worker import ChannelWorker
from fanout.metrics import MetricsServer
from fanout.render import Templates
from fanout.vital import Vital

log = logging.getLogger(__name__)

Find = Callable[[DeliverSettings, str, Clock], Mapping[str, Sequence[Provider]]]
"""The providers of a channel by kind."""


async def run(
    settings: DeliverSettings,
    channels: Sequence[str],
    stop: asyncio.Event,
    clock: Clock | None = None,
    find: Find = providers,
) -> None:
    """Work these channels until `stop`. Raises `BadSetting`, `Unfit` when Redis cannot be used as it is configured."""
    clock = clock or SystemClock()
    keys = Keys(settings.prefix, settings.partitions)
    name = f"{socket.gethostname()}-{os.getpid()}-{token_hex(3)}"
    where = Topology(settings.redis_url, clock=clock)
    pipe = Pipe(where, name=f"deliver-{name}", clock=clock)
    control = Pipe(where, name=f"deliver-control-{name}", clock=clock)
    served = ServerClock(clock, pipe, keys)
    offices = [_office(settings, channel, keys, pipe, clock, served, find) for channel in channels]
    workers = [_worker(name, office, control, settings, _waiting(where, clock)) for office in offices]
    if not await fit(where, keys, clock, stop):
        return
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(pipe.run()), group.create_task(control.run())]
        if settings.metrics_port:
            stats = DeliverStats([office.stats for office in offices])

            async def refresh() -> None:
                for office, worker in zip(offices, workers, strict=True):
                    office.guard.refresh()
                    await read_backlog(pipe, keys, office.channel, worker.partitions, clock, office.stats)

            ttl = min(settings.worker_ttl, settings.lease_ttl)
            vital = Vital(pipe, keys, clock, lambda: max(worker.silence for worker in workers), ttl)
            server = MetricsServer(stats, refresh, vital)
            background.append(group.create_task(vital.run()))
            background.append(group.create_task(server.run(settings.metrics_host, settings.metrics_port)))
        with suppress(BusDown):  # it was there a moment ago and will be again
            await pipe.wait_up(COMMAND_TIMEOUT)
            await control.wait_up(COMMAND_TIMEOUT)
        with suppress(BusError):
            await served.look()
        background.append(group.create_task(served.run()))
        log.info("at work", extra={"worker": name, "channel": ", ".join(channels)})
        look_rarely()
        async with asyncio.TaskGroup() as work:
            for worker in workers:
                work.create_task(worker.run(stop))
        for task in background:
            task.cancel()
    log.info("stopped", extra={"worker": name})


def _office(
    settings: DeliverSettings, channel: str, keys: Keys, pipe: Pipe, clock: Clock, served: Clock, find: Find
) -> Office:
    """`clock`: what providers are told the time by; `served`: Redis's, by which jobs expire."""
    vault = Vault(settings.directory_keys, settings.directory_index_key) if settings.directory_keys else None
    stats = ChannelStats(channel)
    guard = Guard(
        find(settings, channel, clock),
        clock,
        stats,
        places=settings.concurrency(channel),
        timeout=settings.send_timeout,
    )
    return Office(
        channel=channel,
        pipe=pipe,
        keys=keys,
        directory=Directory(pipe, keys, vault, clock),
        categories=Categories(settings.categories),
        composer=Composer(Templates(Path(settings.templates) if settings.templates else None, clock), channel),
        guard=guard,
        unsubscribe=_unsubscribe(settings),
        clock=served,
        stats=stats,
        producers=Producers(settings.producers),
        allowances=Allowances(pipe, keys, clock),
        locale=settings.default_locale,
        zone=settings.default_timezone,
    )


def _waiting(where: Topology, clock: Clock) -> Callable[[str], Pipe]:
    """Makes connections for reads that block, by their name."""
    return lambda name: Pipe(where, name=name, clock=clock, timeout=BLOCK + COMMAND_TIMEOUT, scripts=False)


def _worker(
    name: str, office: Office, control: Pipe, settings: DeliverSettings, connect: Callable[[str], Pipe]
) -> ChannelWorker:
    label = f"deliver-wait-{office.channel}-{name}"
    return ChannelWorker(name, office, control, lambda: connect(label), settings)


def _unsubscribe(settings: DeliverSettings) -> Unsubscribe:
    if not settings.directory_index_key:
        return lambda user, category, channel: None
    secret, base = unsubscribe_secret(settings.directory_index_key), settings.public_url.rstrip("/")
    return lambda user, category, channel: f"{base}/u/{unsubscribe_token(secret, user, category, channel)}"


async def _until_signal(settings: DeliverSettings, channels: Sequence[str]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, channels, stop)


def main(channels: Sequence[str] = ()) -> int:
    """Run a worker for these channels, all when none is named, until SIGTERM. Raises `BadSetting`, `Unfit`."""
    settings = load()
    configure(settings.log_level, role="deliver")
    wanted = tuple(dict.fromkeys(channels)) or CHANNELS
    if sys.platform == "win32":
        asyncio.run(_until_signal(settings, wanted))
    else:
        import uvloop

        uvloop.run(_until_signal(settings, wanted))
    return 0
