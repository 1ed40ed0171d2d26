"""Questions over many keys that a pipe does not answer at once in a cluster, where each key has a master of its own."""

from __future__ import annotations

from typing import Any

from bus.keys import Keys
from bus.pipe import Pipe


async def names(pipe: Pipe, keys: Keys) -> list[bytes]:
    """The keys of an installation, each once."""
    found = [name async for some in pipe.scan(f"{keys.prefix}:*", 1_000) for name in some]
    return sorted(set(found))


async def existing(pipe: Pipe, *keys: str) -> int:
    """How many of the keys exist."""
    return sum(await pipe.asks(("EXISTS", key) for key in keys))


async def values(pipe: Pipe, *keys: str) -> list[Any]:
    """What strings hold."""
    return await pipe.asks(("GET", key) for key in keys)
