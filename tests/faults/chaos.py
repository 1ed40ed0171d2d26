"""A TCP proxy that breaks what goes through it: late, not at all, slowly, or suddenly over.

It has a thread and a loop of its own, so it works while a test waits for a process, and may be driven from anywhere.

    with chaos() as net:
        link = net.link(server.port)     # others connect to link.port
        link.hold()                      # a blackhole: nothing is refused, and nothing arrives
        link.heal()

What is held back arrives after `heal`, as TCP would send it again. A connection that is opened meanwhile is accepted
and silent, for a proxy cannot keep the kernel from answering.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PIECE = 65_536
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of a connection whose end is a RST."""


@dataclass(eq=False)
class Way:
    """One direction of a link."""

    open: asyncio.Event = field(default_factory=asyncio.Event)
    delay: float = 0.0
    """Seconds that each piece waits, at least."""
    rate: float = 0.0
    """Bytes per second; 0: as many as come."""
    passed: int = 0
    """Bytes so far."""

    def __post_init__(self) -> None:
        self.open.set()


@dataclass(eq=False)
class Link:
    """A port on loopback that leads to a server's, and what is wrong on the way. Made by `Chaos.link`."""

    target: int
    port: int = 0
    to_server: Way = field(default_factory=Way)
    to_client: Way = field(default_factory=Way)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = field(default_factory=dict)
    """Of each client, its connection to the server."""
    _halves: set[asyncio.StreamWriter] = field(default_factory=set)
    """Clients whose server is gone and who were not told."""
    refused: int = 0
    """Connections that were reset at once."""
    _refuses: bool = False

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._pairs)

    @property
    def halves(self) -> int:
        """How many of them have lost their server and are not told."""
        return len(self._halves)

    # What can go wrong -------------------------------------------------------------------------------------------

    def hold(self, *, to_server: bool = True, to_client: bool = True) -> None:
        """Blackhole: nothing arrives any more in these directions."""
        ways = [way for way, wanted in ((self.to_server, to_server), (self.to_client, to_client)) if wanted]
        self._do(lambda: [way.open.clear() for way in ways])

    def delay(self, seconds: float) -> None:
        """Each piece is late by so much, in each direction."""
        self._do(lambda: [setattr(way, "delay", seconds) for way in (self.to_server, self.to_client)])

    def limit(self, rate: float) -> None:
        """So many bytes per second in each direction."""
        self._do(lambda: [setattr(way, "rate", rate) for way in (self.to_server, self.to_client)])

    def reset(self) -> None:
        """Every connection ends at once, with a RST to both; new ones are welcome."""
        self._do(self.drop_all)

    def cut(self) -> None:
        """Reset, and whoever connects is reset as well."""

        def cut() -> None:
            self._refuses = True
            self.drop_all()

        self._do(cut)

    def half_open(self) -> None:
        """The servers' sides end; the clients are not told, and what they say goes nowhere. New ones are welcome."""

        def halve() -> None:
            self._halves.update(self._pairs)
            for server in self._pairs.values():
                server.transport.abort()

        self._do(halve)

    def heal(self) -> None:
        """Nothing is wrong any more; what was held back arrives."""

        self._do(self.pass_all)

    # In the proxy's own thread -----------------------------------------------------------------------------------

    def pass_all(self) -> None:
        """As `heal`."""
        self._refuses = False
        for way in (self.to_server, self.to_client):
            way.delay = way.rate = 0
            way.open.set()

    def drop_all(self) -> None:
        """As `reset`."""
        for pair in list(self._pairs.items()):
            for writer in pair:
                _abort(writer)

    def _do(self, change: Callable[[], object]) -> None:
        done = threading.Event()

        def run() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(5), "the proxy does not answer"

    # One connection ----------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """From a client's connection to its end."""
        if self._refuses:
            self.refused += 1
            _abort(writer)
            return
        try:
            there, server = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            _abort(writer)
            return
        self._pairs[writer] = server
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._carry(reader, server, self.to_server))
                group.create_task(self._carry(there, writer, self.to_client))
        finally:
            self._pairs.pop(writer, None)
            self._halves.discard(writer)
            for each in (writer, server):
                each.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, goal: asyncio.StreamWriter, way: Way) -> None:
        with suppress(OSError):
            while data := await reader.read(PIECE):
                await self._wait(way, len(data))
                way.passed += len(data)
                if not goal.transport.is_closing():
                    goal.write(data)
                    await goal.drain()
        await way.open.wait()
        if goal not in self._halves:
            goal.transport.close()

    async def _wait(self, way: Way, size: int) -> None:
        if seconds := way.delay + (size / way.rate if way.rate else 0):
            await asyncio.sleep(seconds)
        await way.open.wait()


def _abort(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with suppress(OSError):  # it is over already
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


class Chaos:
    """Links, and the thread they live in."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._servers: list[asyncio.Server] = []
        self.links: list[Link] = []

    def link(self, target: int) -> Link:
        """A new link to a port on loopback."""
        return asyncio.run_coroutine_threadsafe(self._link(target), self._loop).result(5)

    async def _link(self, target: int) -> Link:
        link = Link(target)
        server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
        link.port = server.sockets[0].getsockname()[1]
        self._servers.append(server)
        self.links.append(link)
        return link

    def heal(self) -> None:
        """Every link is as it should be."""
        for link in self.links:
            link.heal()

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End every connection, and the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for link in self.links:
            link.pass_all()
            link.drop_all()
        if tasks := [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]:
            await asyncio.wait(tasks)


@contextmanager
def chaos() -> Iterator[Chaos]:
    """A net of links for the length of the block."""
    made = Chaos()
    made.start()
    try:
        yield made
    finally:
        made.close()
