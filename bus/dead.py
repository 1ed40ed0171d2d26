"""Dead letters of all partitions: look at them, drop them, send them again.

A dead letter is named `partition/id`, as it is shown. Sending one again puts the entry at the end of its partition's
ingest stream under its own event id, so recipients that had it already do not get it twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from bus.errors import BusDown, Refused
from bus.keys import Keys
from bus.queue import LETTER
from bus.scripts import load


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A buried entry."""

    partition: int
    id: str
    queue: str
    entry: str
    """Id that the entry had in its queue."""
    reason: str
    attempts: int
    fields: dict[bytes, bytes]
    """The entry as it was; may hold private content, so show it only to who asks for it."""

    @property
    def name(self) -> str:
        """What the functions of this module take."""
        return f"{self.partition}/{self.id}"

    @property
    def buried_at(self) -> float:
        """Unix time in seconds, by Redis's clock."""
        return int(self.id.partition("-")[0]) / 1000


def parse_name(name: str, keys: Keys) -> tuple[int, str] | None:
    """Partition and id of `partition/id`; None when it is not of that form."""
    partition, slash, letter = name.partition("/")
    time, _, number = letter.partition("-")
    digits = (partition, time, number or "0")
    if not slash or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in digits):
        return None
    return (int(partition), f"{time}-{number or 0}") if int(partition) < keys.partitions else None


class Graveyard:
    """The dead letters of an installation. Every method raises `BusDown` or `Refused`."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis, self._keys = redis, keys

    async def count(self) -> int:
        """How many there are."""
        counts = await self._each([("XLEN", self._keys.dead(p)) for p in range(self._keys.partitions)])
        return sum(counts)

    async def ls(self, limit: int = 100) -> list[DeadLetter]:
        """The newest ones, newest first."""
        found = await self._each(
            [("XREVRANGE", self._keys.dead(p), "+", "-", "COUNT", limit) for p in range(self._keys.partitions)]
        )
        letters = [_letter(p, raw) for p, entries in enumerate(found) for raw in entries]
        letters.sort(key=lambda letter: letter.buried_at, reverse=True)
        return letters[:limit]

    async def get(self, name: str) -> DeadLetter | None:
        """One of them."""
        if (place := parse_name(name, self._keys)) is None:
            return None
        partition, letter = place
        (found,) = await self._each([("XRANGE", self._keys.dead(partition), letter, letter)])
        return _letter(partition, found[0]) if found else None

    async def drop(self, name: str) -> bool:
        """Delete one; False when there is none of that name."""
        if (place := parse_name(name, self._keys)) is None:
            return False
        partition, letter = place
        (dropped,) = await self._each([("XDEL", self._keys.dead(partition), letter)])
        return bool(dropped)

    async def replay(self, name: str) -> str | None:
        """Send one again and take it off the list; the id of its new entry, None when there is none of that name."""
        if (place := parse_name(name, self._keys)) is None:
            return None
        partition, letter = place
        keys = (self._keys.dead(partition), self._keys.events(partition))
        (entry,) = await self._each([("EVAL", load("replay").text, 2, *keys, letter)])
        return None if entry is None else str(entry.decode())

    async def _each(self, commands: Sequence[Sequence[str | int]]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        try:
            return list(await pipeline.execute())
        except ResponseError as error:
            raise Refused(str(error)) from None
        except (RedisError, OSError) as error:
            raise BusDown(f"Redis does not answer: {error}") from None


def _letter(partition: int, raw: Any) -> DeadLetter:
    letter, fields = raw
    own = dict(fields)
    queue, entry, reason, attempts = (own.pop(name, b"") for name in LETTER)
    return DeadLetter(
        partition=partition,
        id=letter.decode(),
        queue=queue.decode(),
        entry=entry.decode(),
        reason=reason.decode(errors="replace"),
        attempts=int(attempts or 0),
        fields=own,
    )
