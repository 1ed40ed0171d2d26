"""TCP ports for servers of tests: below those that the system gives to whoever connects, and another set in each of the
processes that run tests side by side.

Else a connection, or a server of the tests beside, could have the port before the server is up for which it was chosen,
and one that is down for a while would not find it free when it comes back.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator

SETS = 8
"""Into so many is each range divided; with more processes than that, some share one."""
PLAIN = range(15_000, 20_000)
NODES = range(10_000, 15_000)
"""Of Redis servers, whose second port as nodes of a cluster is 10,000 above."""
BUS = 10_000


class Ports:
    """One process's part of a range, each of them in turn, so that none is given again soon."""

    def __init__(self, whole: range, process: str) -> None:
        number = int(process.removeprefix("gw")) % (SETS - 1) if process else SETS - 1
        size = len(whole) // SETS
        self._mine = whole[number * size : (number + 1) * size]
        # Two runs of the tests on one machine begin at different places.
        self._at = random.SystemRandom().randrange(size)

    def row(self, count: int, *above: int) -> range:
        """So many in a row that are free, as are those so far above them."""
        while True:
            self._at = self._at if self._at + count <= len(self._mine) else 0
            found = self._mine[self._at : self._at + count]
            self._at += count
            if all(is_free(port + more) for port in found for more in (0, *above)):
                return found


def is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


_process = os.environ.get("PYTEST_XDIST_WORKER", "")
_plain, _nodes = Ports(PLAIN, _process), Ports(NODES, _process)


def free_port() -> int:
    """One that nobody listens on."""
    return _plain.row(1)[0]


def free_ports(count: int) -> range:
    """So many in a row."""
    return _plain.row(count)


def node_ports(count: int) -> Iterator[int]:
    """Of so many Redis servers, which may form a cluster."""
    return (_nodes.row(1, BUS)[0] for _ in range(count))
