"""The floor under every broadcast on this machine: a server that only writes a ready frame to each of its connections.

It knows no protocol, no user and no store, so what a delivery costs here is what the kernel and one Python call
ask for. `python -m loadtest.bench.floor PORT FRAME_BYTES` runs it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Final, cast

SWITCHED: Final = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
ANSWERED: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SEND_BUFFER: Final = 65_536
"""As the gateway sets it, for it decides what a write costs."""


def frame(size: int) -> bytes:
    """A text frame of `size` bytes in all (RFC 6455 §5.2), which must be from 130 to 65539."""
    return b"\x81\x7e" + (size - 4).to_bytes(2, "big") + b'{"x":"'.ljust(size - 6, b"x") + b'"}'


class Peer(asyncio.Protocol):
    """A listener (any GET with an upgrade) or the producer (`POST /pub?n=COUNT`)."""

    __slots__ = ("_frame", "_listeners", "_transport")

    def __init__(self, listeners: list[asyncio.Transport], ready: bytes) -> None:
        self._listeners, self._frame = listeners, ready

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it to write to."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        """A request: each comes in one piece, from a client of ours."""
        if data.startswith(b"POST /pub?n="):
            frames = self._frame * int(data[12 : data.index(b" ", 12)])
            for listener in self._listeners:
                listener.write(frames)
            self._transport.write(ANSWERED)
        elif b"Upgrade" in data[:200]:
            self._transport.write(SWITCHED)
            self._listeners.append(self._transport)
        elif data.startswith(b"GET "):
            self._transport.write(ANSWERED)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone: forgotten, so that the next reading has its own connections only."""
        if self._transport in self._listeners:
            self._listeners.remove(self._transport)


async def serve(port: int, size: int) -> None:
    """Until the process is ended."""
    listeners: list[asyncio.Transport] = []
    ready = frame(size)
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    listening.bind(("127.0.0.1", port))
    server = await asyncio.get_running_loop().create_server(
        lambda: Peer(listeners, ready), sock=listening, backlog=4096
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
