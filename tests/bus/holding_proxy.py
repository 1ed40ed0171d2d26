"""A TCP proxy that can hold back answers, stop reading, and cut every connection; and counts what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class HoldingProxy:
    """Between a client and a server on loopback."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._answering, self._reading = asyncio.Event(), asyncio.Event()
        self._answering.set()
        self._reading.set()
        self.held = asyncio.Event()
        """Set when an answer is held back."""
        self.chunks: list[bytes] = []
        """What clients sent, as it came."""

    def hold(self) -> None:
        """Keep the server's answers back until `release`."""
        self._answering.clear()
        self.held.clear()

    def release(self) -> None:
        """Let answers through, those held back first."""
        self._answering.set()
        self._reading.set()

    def stop_reading(self) -> None:
        """Take nothing more from clients until `release`."""
        self._reading.clear()

    def cut(self) -> None:
        """End every connection."""
        self.release()
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        mine = {writer}
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            mine.add(back)
            self._writers.add(back)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(reader, back))
                group.create_task(self._answers(there, writer))
        finally:
            # Also when the test ends while it still connects, as a client does that comes back after a cut.
            self._writers -= mine
            for each in mine:
                each.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.chunks.append(data)
                writer.write(data)
                await self._reading.wait()
        writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if not self._answering.is_set():
                    self.held.set()
                    await self._answering.wait()
                writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def holding_proxy(port: int) -> AsyncIterator[tuple[HoldingProxy, str]]:
    """A proxy to that port of loopback, and the Redis URL by which it is reached."""
    proxy = HoldingProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield proxy, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        proxy.cut()
