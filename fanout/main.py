"""The fan-out worker's process: everything is made and joined here, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from bus.clock import Clock, SystemClock
from bus.collector import look_rarely
from bus.connect import BLOCK, COMMAND_TIMEOUT
from bus.errors import BusDown, BusError
from bus.fitness import fit
from bus.generation import Generations
from bus.keys import Keys
from bus.log import configure
from bus.namespaces import Namespaces
from bus.people.categories import Categories, read_ladder
from bus.pipe import Pipe, Topology
from bus.server_clock import ServerClock
from bus.stored_rules import StoredRules
from fanout.alarm import Alarm
from fanout.audience import Retention, Rules
from fanout.graves import Graves
from fanout.ladder.steps import Steps
from fanout.live import LiveWords
from fanout.metrics import MetricsServer, read_backlog
from fanout.publisher import Publisher
from fanout.render import Templates
from fanout.settings import FanoutSettings, load
from fanout.stats import Stats
from fanout.vital import Vital
from fanout.worker import Worker

log = logging.getLogger(__name__)


async def run(settings: FanoutSettings, stop: asyncio.Event, clock: Clock | None = None) -> None:
    """Work until `stop`. Raises `Unfit` when this Redis cannot be used as it is configured."""
    clock = clock or SystemClock()
    keys = Keys(settings.prefix, settings.partitions)
    name = f"{socket.gethostname()}-{os.getpid()}-{token_hex(3)}"
    stats, generations = Stats(), Generations(keys)
    where = Topology(settings.redis_url, clock=clock)
    pipe = Pipe(where, name=f"fanout-{name}", clock=clock, arrival=generations)
    control = Pipe(where, name=f"fanout-control-{name}", clock=clock, arrival=generations)

    def waiting_line(what: object) -> Pipe:
        label = f"fanout-wait-{what}-{name}"
        return Pipe(where, name=label, clock=clock, timeout=BLOCK + COMMAND_TIMEOUT, scripts=False)

    served = ServerClock(clock, pipe, keys)
    stored = StoredRules(pipe, keys, Namespaces(settings.namespaces))
    rules = Rules(
        keys,
        stored.namespaces,
        Retention(settings.inbox_size, settings.inbox_ttl),
        Categories(settings.categories),
        read_ladder(settings.ladder),
        LiveWords(Templates(Path(settings.templates) if settings.templates else None), settings.default_locale),
    )
    alarm, alarm_line = Alarm(pipe, keys, name), waiting_line("alarm")
    publisher = Publisher(pipe, rules, settings, Graves(clock, settings.routes_ttl), served, stats, alarm.ring)
    steps = Steps(
        pipe,
        keys,
        rules.categories,
        zone=settings.default_timezone,
        ttl=settings.inbox_ttl,
        dead=settings.dead_size,
        stats=stats,
    )
    worker = Worker(name, pipe, control, waiting_line, keys, generations, publisher, steps, settings, served, stats)
    if not await fit(where, keys, clock, stop):
        return
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(line.run()) for line in (pipe, control, alarm_line)]
        background.append(group.create_task(alarm.listen(alarm_line, worker.wake)))
        if settings.metrics_port:

            async def refresh() -> None:
                stats.backlog = await read_backlog(pipe, keys, worker.partitions, clock)

            ttl = min(settings.worker_ttl, settings.lease_ttl)
            vital = Vital(pipe, keys, clock, lambda: worker.silence, ttl)
            server = MetricsServer(stats, refresh, vital)
            background.append(group.create_task(vital.run()))
            background.append(group.create_task(server.run(settings.metrics_host, settings.metrics_port)))
        with suppress(BusDown):  # it was there a moment ago and will be again
            await pipe.wait_up(COMMAND_TIMEOUT)
            await control.wait_up(COMMAND_TIMEOUT)
        with suppress(BusError):
            await served.look()
            await stored.look()
        background += [group.create_task(served.run()), group.create_task(stored.run())]
        log.info("at work", extra={"worker": name})
        look_rarely()
        await worker.run(stop)
        for task in background:
            task.cancel()
    log.info("stopped", extra={"worker": name})


async def _until_signal(settings: FanoutSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(settings, stop)


def main() -> int:
    """Run a worker as the settings say, until SIGTERM. Raises `BadSetting`, `Unfit`."""
    settings = load()
    configure(settings.log_level, role="fanout")
    if sys.platform == "win32":
        asyncio.run(_until_signal(settings))
    else:
        import uvloop

        uvloop.run(_until_signal(settings))
    return 0
