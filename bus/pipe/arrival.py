"""What is done on a connection before anything else is: the place to find out whether a server forgot something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bus.errors import BusDown, BusError
from bus.pipe.line import Arg, Line, Reply

Asks = Callable[[Iterable[Sequence[Arg]]], Awaitable[list[Reply]]]
"""Sends commands on one very connection; as `Pipe.asks`, a `BusError` stands in the place of each failure."""

ALL_SLOTS: Final[Container[int]] = range(16384)
"""What one server has: every key."""


@dataclass(frozen=True, slots=True)
class Server:
    """The server process at the other end of a connection."""

    run_id: str
    """Made anew at each start of a server (INFO server), so a restart and a promoted replica show as another one."""
    peers: frozenset[str] = frozenset()
    """Run ids of the other masters that this pipe is connected to now, all of which have slots: what came from one of
    these was moved, and nothing of it lost."""


class Arrival(Protocol):
    """Awaited on every new connection to a master before any other command is offered to it, and again, before traffic
    for them, for slots that a connected master got newly. When it raises a `BusError`, the connection is dropped."""

    async def __call__(self, asks: Asks, server: Server, slots: Container[int]) -> None:
        """`asks` sends on that very connection; `slots`: numbers of the slots that are new there."""


async def run_id_of(line: Line) -> str:
    """Which server process this is. Raises `BusError`."""
    (info,) = await line.asks([("INFO", "server")])
    if isinstance(info, BusError):
        raise info
    for entry in info.decode().splitlines():
        if entry.startswith("run_id:"):
            return str(entry[len("run_id:") :])
    raise BusDown("Redis does not say which server it is")
