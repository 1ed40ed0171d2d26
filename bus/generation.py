"""Generations: whether the data of a partition is still what was written there.

Redis may forget its newest writes, when it is started again or a replica takes its place. So each new connection
compares the server with the one that is noted in each of its partitions; another server begins a generation, before
anything is written to it. Epochs end with their generation, and what was given to a partition shortly before is given
to it again.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Asks, Pipe, Reply, Server
from bus.pipe.routing import slot_of
from bus.scripts import load

FIRST: Final = "1"
"""Name of the first generation of every partition, and of positions that name none."""

OnChange = Callable[[frozenset[int]], None]


@dataclass(frozen=True, slots=True)
class Generation:
    """The generation of a partition: its name, the server (run id) it is on, and the same of the one before it."""

    name: str
    server: str = ""
    before: str = ""
    was: str = ""


def forgot_together(one: Generation, given: str, other: Generation, seen: str) -> bool:
    """Whether `one` and `other` went from the generations `given` and `seen` to theirs in one step, on one server
    before and after: then they forgot from the same moment on, and what `other` still knows of, `one` still has.

    That is so always with a single server, whose writes are kept up to some moment, whatever partition they are of.
    """
    return (
        (one.before, other.before) == (given, seen)
        and bool(one.was)
        and (one.was, one.server)
        == (
            other.was,
            other.server,
        )
    )


class Generations:
    """What this process knows of them. It is the arrival hook of every pipe that writes; those who want to know of
    changes say so by `watch`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._slots = [slot_of(keys.generation(p).encode()) for p in range(keys.partitions)]
        self._known: dict[int, Generation] = {}
        self._told: dict[int, Reply] = {}
        """What the looks were told, since something was found out otherwise."""
        self._watchers: list[OnChange] = []
        self.version = 0
        """Another number whenever something else is known."""

    @property
    def known(self) -> Mapping[int, Generation]:
        """By partition; those that were not met yet are missing."""
        return self._known

    def watch(self, on_change: OnChange) -> None:
        """Have it called with the partitions that are found in another generation than before."""
        self._watchers.append(on_change)

    def forget(self, on_change: OnChange) -> None:
        """Have it called no more."""
        self._watchers.remove(on_change)

    async def __call__(self, asks: Asks, server: Server, slots: Container[int]) -> None:
        """A connection to a server is new, or has new slots (see `bus.pipe.Arrival`). Raises `BusError`."""
        partitions = [p for p, slot in enumerate(self._slots) if slot in slots]
        replies = await asks(self._command(p, server) for p in partitions)
        found: dict[int, Generation] = {}
        for partition, reply in zip(partitions, replies, strict=True):
            if isinstance(reply, BusError):
                raise reply
            found[partition] = Generation(*(part.decode() for part in reply))
        self._told.clear()
        self._learn(found)

    def _command(self, partition: int, server: Server) -> tuple[str | int, ...]:
        known = self._known.get(partition, Generation(""))
        script, key = load("generation").sha, self._keys.generation(partition)
        return "EVALSHA", script, 1, key, server.run_id, token_hex(4), known.server, known.name, *sorted(server.peers)

    async def look(self, pipe: Pipe) -> None:
        """Find out what others began, in all partitions that can be reached; and reach for all of them."""
        names = ("name", "server", "before", "was")
        keys = [self._keys.generation(p) for p in range(self._keys.partitions)]
        replies = await pipe.asks(("HMGET", key, *names) for key in keys)
        # Hardly ever news, though it is asked for all partitions every other second.
        news = {p: reply for p, reply in enumerate(replies) if reply != self._told.get(p) and not _failed(reply)}
        self._learn({p: self._read(p, reply) for p, reply in news.items()})
        self._told.update(news)

    def _read(self, partition: int, reply: Reply) -> Generation:
        name, *rest = (part.decode() if part else "" for part in reply)
        if name:
            return Generation(name, *rest)
        # Somebody emptied the database. The server is kept in mind, so that the next one is known to be another.
        return Generation(FIRST, self._known[partition].server if partition in self._known else "")

    def _learn(self, found: Mapping[int, Generation]) -> None:
        changed = frozenset(p for p, new in found.items() if p in self._known and self._known[p].name != new.name)
        if any(self._known.get(p) != new for p, new in found.items()):
            self.version += 1
        self._known.update(found)
        if changed:
            for on_change in tuple(self._watchers):
                on_change(changed)


def _failed(reply: Reply) -> bool:
    return isinstance(reply, BusError)
