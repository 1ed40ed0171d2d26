"""The gateway's process: everything is made and joined here, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Container, Coroutine
from functools import partial
from typing import Any, Final

from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from bus.clock import SystemClock
from bus.connect import BLOCK, COMMAND_TIMEOUT
from bus.errors import BusError
from bus.fitness import RETRY, fit
from bus.generation import Generations
from bus.keys import Keys
from bus.log import configure
from bus.pipe import Asks, Pipe, Server, Topology
from gateway import emulation, events_stream, http_stream, server, sse
from gateway.api import app, dev, dev_mailbox, dev_phone, dev_reach, me
from gateway.api.price_feed import PriceFeed, Spawn
from gateway.monitor import watch_loop
from gateway.node import Node, build
from gateway.settings import GatewaySettings, load

KEEP_ALIVE: Final = 75
"""Seconds an idle HTTP connection is kept: longer than the minute for which proxies keep theirs to us."""
FAREWELL: Final = 2.0
"""Seconds that leaving the list of the living may take."""

log = logging.getLogger(__name__)


def application(node: Node, spawn: Spawn) -> ASGIApp:
    """All routes of a node. `spawn` starts a coroutine in the node's task group. Raises `BadSetting`."""
    parts = app.ApiParts(
        settings=node.settings,
        clock=node.clock,
        keys=node.keys,
        pipe=node.pipe,
        ingest=node.ingest,
        stats=node.stats,
        authenticate=node.service.authenticate,
        probe=node.readiness,
        people=node.people,
        forgetting=node.forgetting,
        control=node.control,
    )
    routes: list[BaseRoute] = app.routes(parts)
    for transport in (sse, http_stream, events_stream, emulation):
        routes += transport.routes(node.service)
    routes += me.routes(node.procedures, node.service.authenticate, node.service)
    if node.settings.dev:
        feed = PriceFeed(node.pipe, node.keys, node.ingest, spawn)
        routes += dev.routes(dev.DevParts(node.settings, node.clock, node.ingest, feed))
        routes += dev_mailbox.routes(node.settings, node.pipe, node.keys)
        routes += dev_phone.routes(node.settings, node.clock, node.pipe, node.keys)
        routes += dev_reach.routes(dev_reach.parts(node.settings, node.clock, node.pipe, node.keys))
    return app.application(routes, parts.api_stats)


async def run(settings: GatewaySettings, *listening: socket.socket) -> None:
    """One node on these sockets, until SIGTERM or SIGINT. Raises `Unfit` or `BadSetting` when it cannot be started."""
    clock = SystemClock()
    keys, where = Keys(settings.prefix, settings.partitions), Topology(settings.redis_url, clock=clock)
    await fit(where, keys, clock)
    generations = Generations(keys)
    pipe = Pipe(where, name="gateway", clock=clock, arrival=generations)

    async def arrived(asks: Asks, server: Server, slots: Container[int]) -> None:
        await node.feed.arrived(asks, server, slots)

    line = Pipe(where, name="gateway-feed", clock=clock, timeout=BLOCK + COMMAND_TIMEOUT, arrival=arrived)
    patience = COMMAND_TIMEOUT + settings.replication_timeout
    behind = Pipe(where, name="gateway-durable", clock=clock, timeout=patience, arrival=generations)
    group = asyncio.TaskGroup()
    tasks: set[asyncio.Task[Any]] = set()

    def spawn(work: Coroutine[Any, Any, Any]) -> None:
        task = group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    node = build(settings, clock, pipe, line, spawn, behind)
    generations.watch(node.service.joins.check_soon)
    async with group:
        spawn(line.run())
        spawn(behind.run())
        await _begin(node, spawn)
        config = server.configure(application(node, spawn), node.service, timeout_keep_alive=KEEP_ALIVE)
        await server.GatewayServer(config, node.service).serve(sockets=list(listening))
        await _retire(node)
        for task in tuple(tasks):
            task.cancel()


async def _begin(node: Node, spawn: Spawn) -> None:
    """Start the node's loops, and be alive for the others before the first client comes."""
    spawn(node.pipe.run())
    await _alive(node)
    loops = (
        node.feed.run(),
        node.heartbeat.run(),
        node.pulse.run(),
        node.control.run(),
        node.barometer.run(),
        node.service.admission.keep(lambda: node.heartbeat.nodes),
        node.service.watch.run(),
    )
    for loop in (*loops, watch_loop(node.stats)):
        spawn(loop)
    if node.verifier.published is not None:
        spawn(node.verifier.published.run())
    log.info("node is up", extra={"node": node.id})


async def _alive(node: Node) -> None:
    while True:
        try:
            await node.pipe.wait_up(RETRY)
            await node.heartbeat.beat()
            await node.control.look()  # before anyone comes: what is revoked, and which rules hold
            return
        except BusError as error:
            log.warning("waiting for Redis", extra={"reason": str(error)})
            await asyncio.sleep(RETRY)


async def _retire(node: Node) -> None:
    node.service.receipts.send()
    try:
        async with asyncio.timeout(FAREWELL):
            await node.heartbeat.retire()
    except (BusError, TimeoutError):
        log.warning("could not leave the list of nodes; it will expire", extra={"node": node.id})


def run_process(settings: GatewaySettings, listening: socket.socket, number: int = 0) -> None:
    """One node on an event loop of its own; what each worker process runs. `number`: which of them it is."""
    configure(settings.log_level, role="gateway")
    sockets = [listening]
    if settings.metrics_port:
        # What is asked on the common port is answered by any of the processes: each needs a door of its own.
        port = settings.metrics_port + number
        sockets.append(server.listen(settings.metrics_host, port, send_buffer=settings.send_buffer))
    if sys.platform == "win32":
        asyncio.run(run(settings, *sockets))
    else:
        import uvloop

        uvloop.run(run(settings, *sockets))


def main(workers: int | None = None) -> int:
    """Run the gateway as the settings say, until SIGTERM; `workers` instead of the setting of that name.

    Raises `BadSetting`, `Unfit`, OSError (a port is taken).
    """
    settings = load()
    configure(settings.log_level, role="gateway")
    return server.serve(
        partial(run_process, settings),
        host=settings.host,
        port=settings.port,
        workers=workers or settings.workers,
        send_buffer=settings.send_buffer,
    )
