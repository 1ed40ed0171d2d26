"""Waits for many streams at once: one blocked XREAD rings the bell of every stream that got something.

Nothing polls. A bell that has been rung and not yet heard is left out of the next wait, for its owner will look anyway;
when he has looked, a wait without him is cut short by CLIENT UNBLOCK. One waiter serves the streams of one server; in a
cluster there is one per slot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from bus.bell import Bell
from bus.connect import BLOCK
from bus.errors import BusError
from bus.pipe import Pipe, Reply

OUTAGE: Final = 0.2


class Waiter:
    """`line` is a connection for this waiter alone, with a timeout above `BLOCK`; `pipe` carries the unblocking."""

    def __init__(self, line: Pipe, pipe: Pipe) -> None:
        self._line, self._pipe = line, pipe
        self._bells: dict[bytes, Bell] = {}
        self._new: set[bytes] = set()
        """Streams whose newest entry has to be looked up before they can be waited for."""
        self._client = 0
        self._waiting: frozenset[bytes] | None = None
        """The streams of the wait under way."""
        self._stale = False
        """Somebody is quiet whom the wait under way does not include."""
        self._cutting = False
        self._wanted = asyncio.Event()

    def watch(self, stream: str, bell: Bell) -> None:
        """Ring this bell from now on."""
        key = stream.encode()
        self._bells[key] = bell
        self._new.add(key)
        bell.on_heard = lambda: self._miss(key)
        self._miss(key)

    def forget(self, stream: str) -> None:
        """Ring it no more."""
        key = stream.encode()
        self._new.discard(key)
        if bell := self._bells.pop(key, None):
            bell.on_heard = None

    async def run(self) -> None:
        """Wait and ring until cancelled."""
        while True:
            try:
                await self._line.wait_up(BLOCK)
                self._client = await self._line.ask("CLIENT", "ID")
                self._new.update(self._bells)
                while True:
                    await self._turn()
            except BusError:
                await asyncio.sleep(OUTAGE)

    async def _turn(self) -> None:
        if self._new:
            await self._locate()
        self._wanted.clear()
        quiet = {key: bell for key, bell in self._bells.items() if not bell.rung}
        if not quiet:
            await self._wanted.wait()
            return
        for key, entries in await self._block(quiet) or ():
            quiet[key].ring(entries[-1][0].decode())
        # Whoever is rung hears it before the next wait, which can then include him.
        await asyncio.sleep(0)

    async def _locate(self) -> None:
        """Find where new streams end, and ring for what they hold: somebody may have waited for it in vain."""
        new, self._new = tuple(self._new), set()
        found = await self._line.asks(("XREVRANGE", key, "+", "-", "COUNT", 1) for key in new)
        for key, reply in zip(new, found, strict=True):
            if isinstance(reply, BusError):
                self._new.add(key)
            elif bell := self._bells.get(key):
                bell.position = reply[0][0].decode() if reply else "0-0"
                bell.ring()

    async def _block(self, quiet: Mapping[bytes, Bell]) -> Reply:
        self._waiting, self._stale = frozenset(quiet), False
        positions = (bell.position for bell in quiet.values())
        try:
            return await self._line.ask("XREAD", "COUNT", 1, "BLOCK", int(BLOCK * 1000), "STREAMS", *quiet, *positions)
        finally:
            self._waiting = None

    def _miss(self, key: bytes) -> None:
        """A stream has to be waited for now."""
        self._wanted.set()
        if self._waiting is not None and key not in self._waiting:
            self._stale = True
            self._cut()

    def _cut(self) -> None:
        """End the wait under way, so that the next one includes everyone who is quiet by then."""
        if self._cutting:
            return
        self._cutting = True
        wait = self._waiting

        def answered(reply: Reply) -> None:
            self._cutting = False
            ended = reply == 1 and self._waiting is wait
            # 0: the wait had not reached Redis yet, for it travels on another connection.
            if self._stale and self._waiting is not None and not ended and not isinstance(reply, BusError):
                self._cut()

        self._pipe.post(("CLIENT", "UNBLOCK", self._client), answered)
