"""Who is alive, and who works which partition: a list in Redis, and a pure function of it.

Partitions go to workers by rendezvous hashing: every worker computes the same answer from the same list, and when one
comes or goes only its own partitions move.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from hashlib import blake2b

from bus.errors import BusError
from bus.pipe import Pipe, Reply

OnTold = Callable[[tuple[str, ...] | BusError], None]


class Registry:
    """One member of a list of the living. `ttl` in seconds: how long a member counts as alive after its last beat."""

    def __init__(self, pipe: Pipe, key: str, member: str, ttl: float) -> None:
        self._pipe, self._key, self._member, self._ttl = pipe, key, member, int(ttl * 1000)

    def say(self, on_told: OnTold) -> None:
        """Say that we are alive, now; `on_told` is called with who is, or with why nobody knows."""

        def answered(reply: Reply) -> None:
            on_told(reply if isinstance(reply, BusError) else _names(reply))

        self._pipe.post_script("register", (self._key,), (self._ttl, self._member), answered)

    async def beat(self) -> tuple[str, ...]:
        """Say that we are alive, and learn who is. Raises `BusError`."""
        return _names(await self._pipe.script("register", (self._key,), (self._ttl, self._member)))

    async def members(self) -> tuple[str, ...]:
        """Who is alive. Raises `BusError`."""
        return _names(await self._pipe.script("register", (self._key,), (self._ttl,)))

    async def leave(self) -> None:
        """Be gone at once. Raises `BusError`."""
        await self._pipe.ask("ZREM", self._key, self._member)


def _names(reply: list[bytes]) -> tuple[str, ...]:
    return tuple(name.decode() for name in reply)


def owner_of(partition: int, members: Collection[str]) -> str | None:
    """The member that works a partition, None when there is none."""
    return max(members, key=lambda member: (_weight(partition, member), member), default=None)


def owned_by(member: str, members: Collection[str], partitions: int) -> frozenset[int]:
    """The partitions that a member works."""
    return frozenset(p for p in range(partitions) if owner_of(p, members) == member)


def _weight(partition: int, member: str) -> bytes:
    return blake2b(f"{partition} {member}".encode(), digest_size=8).digest()
