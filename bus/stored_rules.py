"""Rules of namespaces that are made at run time: kept in Redis, and taken by every process within a second.

A version stands beside them. To look for a change is to read it, so any number of processes can look often.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

import orjson

from bus.errors import BusError
from bus.keys import Keys
from bus.namespaces import MOST, Namespaces
from bus.pipe import Pipe

LOOK: Final = 0.5
"""Seconds between two looks."""


def nothing() -> None:
    """For who needs not be told of a change."""


class StoredRules:
    """Keeps a process's `namespaces` as Redis has them, and changes what Redis has."""

    def __init__(self, pipe: Pipe, keys: Keys, namespaces: Namespaces, on_change: Callable[[], None] = nothing) -> None:
        self._pipe, self._keys = pipe, keys
        self.namespaces = namespaces
        self._on_change = on_change
        self._version: bytes | None = None

    async def run(self) -> None:
        """Look until cancelled; while Redis is away, what was known holds."""
        while True:
            with suppress(BusError):  # what was missed is found at the next look
                await self.look()
            await asyncio.sleep(LOOK)

    async def look(self) -> None:
        """Take what has changed. Raises `BusError`."""
        version = await self._pipe.ask("GET", self._keys.rules_version)
        if version == self._version:
            return
        flat = await self._pipe.ask("HGETALL", self._keys.rules) if version is not None else []
        pairs = zip(flat[::2], flat[1::2], strict=True)
        self.namespaces.override({name.decode(errors="replace"): _loaded(raw) for name, raw in pairs})
        self._version = version
        self._on_change()

    async def store(self, name: str, rules: Mapping[str, Any]) -> bool:
        """Make these the rules of a namespace everywhere; False where there are too many. They must have passed
        `Namespaces.check`. Raises `BusError`."""
        found = await self._set(name, orjson.dumps(rules))
        return found > 0

    async def delete(self, name: str) -> bool:
        """Go back to the rules of the settings; False where there were no others. Raises `BusError`."""
        found = await self._set(name)
        return found > 0

    async def _set(self, name: str, *rules: bytes) -> int:
        keys = (self._keys.rules, self._keys.rules_version)
        found = int(await self._pipe.script("set_rules", keys, (token_hex(8), MOST, name, *rules)))
        await self.look()
        return found


def _loaded(raw: bytes) -> object:
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None  # which no rules are: the namespace is closed
