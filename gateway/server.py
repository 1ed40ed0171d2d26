"""The process around a node: its listening socket, its way to go, and how several share one port.

`serve` runs a node in this process, or in each of several: the parent then only watches them. SIGTERM means the same
to both: refuse new clients, send the others away in slices, answer what is under way, exit.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any, Final, Protocol

import uvicorn
from uvicorn.config import STARTUP_FAILURE, Config

from bus.clock import SystemClock
from gateway.handover import GatewayProtocol, gateway_protocol
from gateway.transport import Application

logger = logging.getLogger(__name__)

BACKLOG: Final = 4_096
"""Connections the kernel completes before we accept them; a storm is met by the queue, not by resets."""
GRACE_SECONDS: Final = 5.0
"""How long plain HTTP requests may take to end after the connections were sent away."""
RESTART_SECONDS: Final = 1.0
"""Pause before a process that died is replaced."""
YOUNG_SECONDS: Final = 30.0
"""A process that gives up sooner than this could not start."""
GC_EVERY: Final = 36_000
"""Ticks of 0.1 s between two rounds in which the garbage collector looks at everything."""


class Node(Application, Protocol):
    """What a server needs of the service."""

    async def drain(self) -> None: ...


# Sockets -----------------------------------------------------------------------------------------------------------


def listen(host: str, port: int, *, send_buffer: int, shared: bool = False) -> socket.socket:
    """A listening socket. `shared` lets other processes of ours bind the same port (SO_REUSEPORT); without it a
    second system on this port is refused. `send_buffer` (SO_SNDBUF, bytes) is inherited by every connection: the
    kernel's own would hide megabytes of what a stalled peer does not read.

    Raises OSError, among others when the port is taken.
    """
    sock = _bound(host, port, shared=shared)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    sock.listen(BACKLOG)
    return sock


def reserve(host: str, port: int) -> socket.socket:
    """Find out that nobody else has the port, and keep it for sockets that share it. The socket returned does not
    listen, so the kernel gives it no connections; hold it as long as the port is wanted. Raises OSError."""
    with _bound(host, port) as probe:
        probe.listen(1)
        port = probe.getsockname()[1]
    return _bound(host, port, shared=True)


def _bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


# One process -------------------------------------------------------------------------------------------------------


def configure(app: Any, service: Application, **options: Any) -> Config:
    """uvicorn's configuration for a node: our protocol, no access log (queries and addresses are not logged), no
    WebSocket library of its own. `options` are further ones of `uvicorn.Config`."""
    fixed: dict[str, Any] = {
        "http": gateway_protocol(service),
        "ws": "none",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": int(GRACE_SECONDS),
    }
    return Config(app, **(fixed | options))


class GatewayServer(uvicorn.Server):
    """uvicorn's server, which goes in stages: no new clients, then the node's own drain, then uvicorn's shutdown."""

    def __init__(self, config: Config, node: Node) -> None:
        super().__init__(config)
        self._node = node

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle()
        gc.callbacks.append(_after_collection)
        self._watch_parent()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called once `should_exit` is set, by a signal for one."""
        for server in self.servers:
            server.close()
        for sock in sockets or ():
            sock.close()
        protocol = self.config.http_protocol_class
        if issubclass(protocol, GatewayProtocol):
            protocol.door.draining = True
        await self._node.drain()
        gc.callbacks.remove(_after_collection)
        await super().shutdown(sockets)
        self._captured_signals.clear()  # else uvicorn raises them again, and a planned end looks like a crash

    async def on_tick(self, counter: int) -> bool:
        if counter and counter % GC_EVERY == 0:
            gc.unfreeze()
        return await super().on_tick(counter)

    def _watch_parent(self) -> None:
        """A child of `serve` goes when its parent is gone, however that ended."""
        parent = multiprocessing.parent_process()
        if parent is not None:
            asyncio.get_running_loop().add_reader(parent.sentinel, self._orphaned, parent.sentinel)

    def _orphaned(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self.should_exit = True


def settle() -> None:
    """Tell the garbage collector that what is here stays: a full collection over 10,000 connections would stop the
    loop for 20–30 ms, and finds nothing."""
    gc.collect()
    gc.freeze()


def _after_collection(phase: str, info: dict[str, int]) -> None:
    """What outlived a full collection is here to stay as well, so the next one need not look at it. (Cycles among it
    that die later are found after the hourly unfreeze.)"""
    if phase == "stop" and info["generation"] == 2:
        gc.freeze()


# Several processes -------------------------------------------------------------------------------------------------

Run = Callable[[socket.socket, int], None]
"""Serves on a listening socket. The number, from 0 on, is that of the process among its siblings; who replaces one that
died has its number."""


def serve(run: Run, *, host: str, port: int, workers: int, send_buffer: int) -> int:
    """Call `run` with a listening socket: here, or, for more than one worker, in so many processes, each with a
    socket of its own on the same port. Then `run` must be picklable. Returns the exit status.

    Raises OSError when the port is taken.
    """
    if workers <= 1:
        run(listen(host, port, send_buffer=send_buffer), 0)
        return 0
    with reserve(host, port) as kept:
        port = kept.getsockname()[1]
        return Workers(partial(_work, run, host, port, send_buffer), workers).run()


def _work(run: Run, host: str, port: int, send_buffer: int, number: int) -> None:
    os.setsid()  # Ctrl-C goes to the parent alone, which tells us once
    run(listen(host, port, send_buffer=send_buffer, shared=True), number)


@dataclass(frozen=True, slots=True)
class _Place:
    """A process of several: its number among them, and when it was started."""

    number: int
    since: float


class Workers:
    """Keeps so many processes running until it is told to stop; `target` is called in each with its number. One that
    dies is replaced, unless it gave up young: then it could not start, and neither could the next. Who was killed did
    not give up."""

    def __init__(self, target: Callable[[int], None], count: int) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would share threads' locks and our handlers
        self._target = target
        self._count = count
        self._clock = SystemClock()
        self._alive: dict[BaseProcess, _Place] = {}
        self._stopping = False
        self._status = 0

    def run(self) -> int:
        """Until SIGTERM or SIGINT, and all have gone. The exit status is that of one that could not start, else 0."""
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            for number in range(self._count):
                self._start(number)
            while self._alive:
                wait([process.sentinel for process in self._alive])
                self._replace([process for process in self._alive if not process.is_alive()])
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        return self._status

    def _start(self, number: int) -> None:
        process = self._context.Process(target=self._target, args=(number,))
        process.start()
        self._alive[process] = _Place(number, self._clock.monotonic())
        if self._stopping:
            process.terminate()  # the signal came while it was being started

    def _replace(self, ended: Sequence[BaseProcess]) -> None:
        """All that ended together have their successors together."""
        free = [self._ended(process) for process in ended]
        if not self._stopping:
            time.sleep(RESTART_SECONDS)
        for number in free:
            if not self._stopping:
                self._start(number)

    def _ended(self, process: BaseProcess) -> int:
        """Judge how it ended; the number that it leaves."""
        place = self._alive.pop(process)
        if self._stopping:
            return place.number
        age, status = self._clock.monotonic() - place.since, process.exitcode or 0
        logger.error(
            "a gateway process ended",
            extra={"status": process.exitcode, "seconds": round(age), "worker": place.number},
        )
        if status == STARTUP_FAILURE or (status > 0 and age < YOUNG_SECONDS):
            self._status = status
            self._stop()
        return place.number

    def _stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True
        for process in self._alive:
            process.terminate()
