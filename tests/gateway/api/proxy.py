"""A TCP proxy that passes everything on, until it is told to swallow the answers and hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from bus.pipe import Pipe


class Proxy:
    """Between a client and a server on loopback; `swallow` makes it deliver requests but no answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self.swallowing = False
        self.swallowed = asyncio.Event()

    def swallow(self) -> None:
        """From now on what the server answers goes nowhere; `swallowed` is set at the first such answer."""
        self.swallowing = True

    def hang_up(self) -> None:
        """End every connection, and let those that come later pass again."""
        self.swallowing = False
        for writer in self._writers:
            writer.transport.abort()

    async def cut_off(self, pipe: Pipe) -> None:
        """End every connection, and wait until the pipe has noticed."""
        self.hang_up()
        while pipe.up:  # noqa: ASYNC110  # there is no event for what its loop does next
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, back, answers=False))
                group.create_task(self._pass_on(there, writer, answers=True))
        finally:
            self._writers -= {writer, back}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                if answers and self.swallowing:
                    self.swallowed.set()
                else:
                    writer.write(data)
        writer.transport.abort()


@asynccontextmanager
async def open_proxy(port: int) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy to that port of loopback, and the Redis URL by which it is reached."""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield proxy, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
        proxy.hang_up()
