"""Dead letters of all partitions: look at them, drop them, send them again.

Sending one again puts the entry at the end of the queue it was in: an event under its own id, so that recipients who
had it already do not get it twice; a job with all its attempts before it, under the id by which the provider knows a
repeat.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final

from bus.errors import BusError, Refused
from bus.keys import Keys, escape
from bus.letters import DeadLetter, Selection, letter, parse_name
from bus.pipe import Arg, Pipe
from bus.scripts import load

__all__ = ["DeadLetter", "Graveyard", "Selection", "parse_name"]

PAGE: Final = 100
"""Letters read of a partition at a time: each may hold a whole event."""
TOGETHER: Final = 200
"""Commands sent at once, so that what others ask meanwhile does not wait for all of them."""
SECOND_CHANCE: Final = 3600.0
"""Seconds that a job has at least when it is sent again, though its time may be over."""
TRAIL_TTL: Final = 30 * 86_400
"""How long a trail is kept that this begins, in seconds."""

Command = tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """Letters, newest first; `more`: there are more that were meant."""

    letters: tuple[DeadLetter, ...]
    more: bool


class Graveyard:
    """The dead letters of an installation. Every method raises `BusDown` or `Refused`."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self._pipe, self._keys = pipe, keys

    # Looking -----------------------------------------------------------------------------------------------------

    async def count(self) -> int:
        """How many there are."""
        counts = await self._all([("XLEN", self._keys.dead(p)) for p in range(self._keys.partitions)])
        return sum(counts)

    async def ls(self, limit: int = 100) -> list[DeadLetter]:
        """The newest ones, newest first."""
        return list((await self.find(Selection(), limit)).letters)

    async def find(self, selection: Selection, limit: int = 100) -> Found:
        """The newest ones of those that are meant."""
        if selection.names:
            letters = [await self.get(name) for name in selection.names]
            meant = _newest_first(one for one in letters if one is not None and selection.has(one))
        else:
            meant = _newest_first(await self._search(selection, limit))
        return Found(tuple(meant[:limit]), len(meant) > limit)

    async def _search(self, selection: Selection, limit: int) -> list[DeadLetter]:
        """The newest that are meant, one more than `limit` where there are so many. No more than these are ever held,
        beside a page of each partition."""
        newest, oldest = selection.span
        ends = dict.fromkeys(range(self._keys.partitions), newest)
        meant: list[DeadLetter] = []
        while ends:
            pages = await self._all(
                [("XREVRANGE", self._keys.dead(p), end, oldest, "COUNT", PAGE) for p, end in ends.items()]
            )
            last: dict[int, DeadLetter] = {}
            for p, page in zip(tuple(ends), pages, strict=True):
                letters = [_letter(p, raw) for raw in page]
                meant += filter(selection.has, letters)
                if len(page) == PAGE:
                    last[p] = letters[-1]
            meant = nlargest(limit + 1, meant, key=_age)
            # Where a page ended below the last that counts, nothing follows that does.
            enough = meant[-1].age if len(meant) > limit else (0, 0)
            ends = {p: f"({one.id}" for p, one in last.items() if one.age > enough}
        return meant

    async def get(self, name: str) -> DeadLetter | None:
        """One of them."""
        if (place := parse_name(name, self._keys)) is None:
            return None
        partition, letter_id = place
        (found,) = await self._all([("XRANGE", self._keys.dead(partition), letter_id, letter_id)])
        return _letter(partition, found[0]) if found else None

    # Doing -------------------------------------------------------------------------------------------------------

    async def drop(self, name: str) -> bool:
        """Delete one; False when there is none of that name."""
        if (place := parse_name(name, self._keys)) is None:
            return False
        partition, letter_id = place
        (dropped,) = await self._all([("XDEL", self._keys.dead(partition), letter_id)])
        return bool(dropped)

    async def drop_all(self, letters: Sequence[DeadLetter]) -> list[str]:
        """Delete these; the names of those that were still there."""
        dropped = await self._all([("XDEL", self._keys.dead(one.partition), one.id) for one in letters])
        return [one.name for one, was_there in zip(letters, dropped, strict=True) if was_there]

    async def replay(self, name: str) -> str | None:
        """Send one again and take it off the list; the id of its new entry, None when there is none of that name."""
        found = await self.get(name)
        if found is None:
            return None
        (entry,) = await self._all([self._again(found)])
        return None if entry is None else str(entry.decode())

    async def replay_all(self, letters: Sequence[DeadLetter]) -> list[str]:
        """Send these again; the names of those that were. One of which nothing was kept stays where it is."""
        replies = await self._ask([self._again(one) for one in letters])
        for reply in replies:
            if isinstance(reply, BusError) and not (isinstance(reply, Refused) and reply.code == "EMPTY"):
                raise reply
        return [one.name for one, reply in zip(letters, replies, strict=True) if isinstance(reply, bytes)]

    def _again(self, found: DeadLetter) -> Command:
        keys, p = self._keys, found.partition
        dead = keys.dead(p)
        if channel := found.channel:
            about = found.about
            user = about.get("user", "")
            # A trail lives with its person: of whoever does not live here, or is not known, it is left alone.
            trail = keys.trail(user) if user and keys.partition(user) == p else dead
            args = (found.id, channel, int(SECOND_CHANCE * 1000), escape(about.get("event", "")), TRAIL_TTL)
            return _script("replay_job", (dead, keys.jobs(p, channel), trail), args)
        if found.queue == "timers":
            return _script("replay_timer", (dead, keys.timers(p)), (found.id,))
        return _script("replay", (dead, keys.bulk(p) if found.queue == "bulk" else keys.events(p)), (found.id,))

    # Redis -------------------------------------------------------------------------------------------------------

    async def _all(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._ask(commands)
        for reply in replies:
            if isinstance(reply, BusError):
                raise reply
        return replies

    async def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """The replies, a `BusError` in the place of each failure."""
        replies: list[Any] = []
        for start in range(0, len(commands), TOGETHER):
            replies += await self._pipe.asks(commands[start : start + TOGETHER])
        return replies


def _script(name: str, keys: Sequence[str], args: Sequence[Arg]) -> Command:
    return "EVALSHA", load(name).sha, len(keys), *keys, *args


def _letter(partition: int, raw: Any) -> DeadLetter:
    letter_id, fields = raw
    return letter(partition, letter_id, dict(zip(fields[::2], fields[1::2], strict=True)))


def _newest_first(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    return sorted(letters, key=_age, reverse=True)


def _age(one: DeadLetter) -> tuple[int, int]:
    return one.age
