"""A program for test_server: an echo node, or several on one port. `python -m … HOST PORT WORKERS [broken]`."""

from __future__ import annotations

import os
import socket
import sys
from functools import partial

from gateway.server import GatewayServer, configure, serve
from gateway.wire.codes import Disconnect
from tests.gateway.echo import Echo, app


class Node(Echo):
    """Sends everyone away at the end."""

    async def drain(self) -> None:
        for connection in tuple(self.connections):
            connection.close(Disconnect.SHUTDOWN)
        await self.until(lambda: not self.connections)


def run(broken: bool, sock: socket.socket, number: int) -> None:
    if broken:
        sys.exit(7)
    node = Node()
    print(f"{os.getpid()} {sock.getsockname()[1]}", flush=True)
    GatewayServer(configure(app, node, lifespan="off"), node).run([sock])


if __name__ == "__main__":
    host, port, workers, *rest = sys.argv[1:]
    work = partial(run, bool(rest))
    sys.exit(serve(work, host=host, port=int(port), workers=int(workers), send_buffer=65_536))
