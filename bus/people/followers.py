"""Followers: who gets what is sent to a topic in their inbox, whether or not they are there.

A topic's followers are kept in the partition of each follower, so that what is given to them stays local. The topic's
own partition only knows that there are any: its meta says so before the first of them is noted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Arg, Pipe

T = TypeVar("T")
Chunk = tuple[int, list[str]]
"""Some users, and the partition that is theirs."""

CHUNK: Final = 200
"""Users per script: well below 10 ms of Redis's time."""
TOGETHER: Final = 16
"""Scripts sent at once, and made at once: a gateway's connections wait meanwhile."""
SLICE: Final = 5_000
"""Users sorted by partition at once."""

FORGOTTEN: Final = 31 * 86_400
"""Seconds for which a topic that nobody follows any more, and nobody publishes to, keeps its place in history."""


@dataclass(frozen=True, slots=True)
class Page:
    """Some of a topic's followers; `cursor` leads to those after them, None when there are none."""

    users: tuple[str, ...]
    cursor: str | None


class Followers:
    """Reads and writes who follows what. All methods raise `BusError`; what was done until then stays done, and can be
    done again."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self._pipe, self._keys = pipe, keys

    async def follow(self, topic: str, users: Iterable[str]) -> int:
        """Add followers; how many are new."""
        await self._mark(topic)
        added = await self._run("follow", topic, await self._chunks(users))
        await self._mark(topic)  # somebody may have taken the mark away when they saw nobody
        return added

    async def unfollow(self, topic: str, users: Iterable[str]) -> int:
        """Take followers away; how many there were."""
        chunks = await self._chunks(users)
        gone = 0
        for some in _parts(chunks):
            commands = [("ZREM", self._keys.members(topic, p), *chunk) for p, chunk in some]
            gone += sum(_raised(await self._pipe.asks(commands)))
        await self._unmark(topic)
        await self._run("unfollowed", topic, chunks)
        return gone

    async def _unmark(self, topic: str) -> None:
        if await self.count(topic):
            return
        meta = self._keys.meta(topic)
        await self._asks(("HDEL", meta, "followed"), ("EXPIRE", meta, FORGOTTEN))
        if await self.count(topic):
            await self._mark(topic)

    async def topics(self, user: str) -> tuple[str, ...]:
        """What a person follows, in the order of the names."""
        return tuple(sorted(topic.decode() for topic in await self._pipe.ask("SMEMBERS", self._keys.follows(user))))

    async def count(self, topic: str) -> int:
        """How many follow a topic."""
        shards = (("ZCARD", self._keys.members(topic, p)) for p in range(self._keys.partitions))
        return sum(_raised(await self._pipe.asks(shards)))

    async def page(self, topic: str, cursor: str | None, limit: int) -> Page | None:
        """Followers from `cursor` on, by partition and then by name; None for a cursor that is none of ours."""
        start = _position(cursor, self._keys.partitions)
        if start is None:
            return None
        partition, after = start
        found: list[str] = []
        while partition < self._keys.partitions:
            shard = self._keys.members(topic, partition)
            lowest = f"({after}" if after else "-"
            users = await self._pipe.ask("ZRANGEBYLEX", shard, lowest, "+", "LIMIT", 0, limit - len(found))
            found += [user.decode() for user in users]
            if len(found) == limit:
                return Page(tuple(found), f"{partition}:{found[-1]}")
            partition, after = partition + 1, ""
        return Page(tuple(found), None)

    async def _mark(self, topic: str) -> None:
        meta = self._keys.meta(topic)
        await self._asks(("HSET", meta, "followed", "1"), ("PERSIST", meta))

    async def _asks(self, *commands: Sequence[Arg]) -> None:
        _raised(await self._pipe.asks(commands))

    async def _chunks(self, users: Iterable[str]) -> list[Chunk]:
        """Users in chunks, each once."""
        out: list[Chunk] = []
        waiting = iter(dict.fromkeys(users))
        while some := tuple(islice(waiting, SLICE)):
            shards: dict[int, list[str]] = defaultdict(list)
            for user in some:
                shards[self._keys.partition(user)].append(user)
            out += [(p, shard[i : i + CHUNK]) for p, shard in shards.items() for i in range(0, len(shard), CHUNK)]
            await asyncio.sleep(0)
        return out

    async def _run(self, script: str, topic: str, chunks: Sequence[Chunk]) -> int:
        keys, done = self._keys, 0
        for some in _parts(chunks):
            calls = [
                (script, (keys.members(topic, p), *map(keys.follows, users)), (topic, *users)) for p, users in some
            ]
            done += sum(_raised(await self._pipe.scripts(calls)))
        return done


def _position(cursor: str | None, partitions: int) -> tuple[int, str] | None:
    if cursor is None:
        return 0, ""
    partition, colon, after = cursor.partition(":")
    if not colon or not partition.isascii() or not partition.isdigit() or len(partition) > 4:
        return None
    return (int(partition), after) if int(partition) < partitions else None


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[i : i + TOGETHER] for i in range(0, len(items), TOGETHER))


def _raised(replies: Sequence[Any]) -> Sequence[Any]:
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply
    return replies
