"""What operators decide at run time, brought to every node: what is revoked, who is sent away, which rules hold.

It is stored first. Then every live node is told through its own stream, and beside that each looks at a version twice
a second: so a node that was not told, was cut off, or has just begun knows it just as surely.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from math import inf
from secrets import token_hex
from typing import Any, Final

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from bus.server_clock import EVERY, ServerClock
from bus.stored_rules import LOOK, StoredRules
from gateway.relay import Relay, ignore
from gateway.revocation import Dismissal, Kept, Order, Revocations, pack, unpack
from gateway.settings import GatewaySettings

REVOKE: Final = "revoke"
RULES: Final = "rules"
PAGE: Final = 500
DISMISSED: Final = 600.0
"""Seconds for which a node may be cut off and still learn that somebody was sent away."""

OnOrder = Callable[[Order], None]


class Control:
    """One node's part of it. `on_order` is told of each order once; `rules` tells of changed rules by itself."""

    def __init__(
        self,
        settings: GatewaySettings,
        pipe: Pipe,
        keys: Keys,
        clock: Clock,
        relay: Relay,
        revocations: Revocations,
        rules: StoredRules,
        on_order: OnOrder,
    ) -> None:
        self._settings, self._pipe, self._keys, self._relay = settings, pipe, keys, relay
        self._clock = ServerClock(clock, pipe, keys)
        """Until when something is revoked goes by one clock for all nodes: to one that is ahead, what was just ordered
        would be over."""
        self._set_at = -inf
        """When that clock was set, in monotonic seconds."""
        self._revocations, self.rules, self._on_order = revocations, rules, on_order
        self._version: str | None = None
        """None: nothing was read yet."""
        self._wake = asyncio.Event()

    # What others decided -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look until cancelled; while Redis is away, what was known holds."""
        while True:
            self._wake.clear()
            with suppress(BusError):  # what was missed is found at the next look
                await self.look()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    async def look(self) -> None:
        """Take what has changed. Raises `BusError`."""
        await self._set_clock()
        await self.rules.look()
        version = _text(await self._pipe.ask("GET", self._keys.revoked_version))
        if version != self._version:
            await self._load(version)

    async def _set_clock(self) -> None:
        if self._clock.monotonic() - self._set_at >= EVERY:
            await self._clock.look()
            self._set_at = self._clock.monotonic()

    async def _load(self, version: str) -> None:
        before, self._version = self._version, version
        try:
            await self._read(first=before is None)
        except BusError:
            self._version = before  # or the next look would find nothing new
            raise

    async def _read(self, *, first: bool) -> None:
        found = [kept async for kept in self._stored()]
        for kept in found:
            # Nobody who is here now was here when those orders were given that a node finds at its start.
            self._take(kept, told=not first or not isinstance(kept.order, Dismissal))
        names = {pack(kept.order)[0] for kept in found}
        await self._store_again([kept for kept in self._revocations if pack(kept.order)[0] not in names])

    async def _stored(self) -> Any:
        cursor = b"0"
        while True:
            cursor, flat = await self._pipe.ask("HSCAN", self._keys.revoked, cursor, "COUNT", PAGE)
            for name, value in zip(flat[::2], flat[1::2], strict=True):
                if (kept := unpack(_text(name), _text(value))) is not None:
                    yield kept
            if cursor == b"0":
                return

    async def _store_again(self, lost: Sequence[Kept]) -> None:
        """What Redis had told us and has no more, as after a failover: it still holds, for nodes to come too."""
        for start in range(0, len(lost), PAGE):
            calls = [self._call(pack(kept.order), kept.until) for kept in lost[start : start + PAGE]]
            await self._pipe.scripts(calls)

    def _take(self, kept: Kept, *, told: bool = True) -> None:
        if self._revocations.take(kept, self._clock.wall()) and told:
            self._on_order(kept.order)

    def ordered(self, order: Mapping[str, Any]) -> None:
        """A control entry of the node's stream."""
        match order:
            case {"op": "revoke", "name": str(name), "kept": str(value), "from": str(before), "to": str(version)}:
                if (kept := unpack(name, value)) is not None:
                    self._take(kept)
                    if before == self._version:
                        self._version = version
            case {"op": "rules"}:
                self._wake.set()
            case _:
                pass

    @property
    def now(self) -> float:
        """Unix time, by the clock of all nodes."""
        return self._clock.wall()

    # What is decided here ----------------------------------------------------------------------------------------

    async def revoke(self, order: Order) -> Kept | None:
        """Store an order and tell everyone; what is kept now, None where there are too many. Raises `BusError`."""
        await self._set_clock()
        ttl = DISMISSED if isinstance(order, Dismissal) else self._settings.token_lifetime + self._settings.token_leeway
        until = int((self._clock.wall() + ttl) * 1000)
        name, value = pack(order)
        found = await self._pipe.script(*self._call((name, value), until))
        if not found:
            return None
        before, version, stored = (part.decode() for part in found)
        entry = {"op": REVOKE, "name": name, "kept": stored, "from": before, "to": version}
        self.ordered(entry)
        await self._tell(entry)
        return unpack(name, stored)

    async def set_rules(self, name: str, rules: Mapping[str, Any] | None) -> bool:
        """Store rules that passed `Namespaces.check`, or delete them (None), and tell everyone; False where there are
        too many, or were none. Raises `BusError`."""
        changed = await (self.rules.delete(name) if rules is None else self.rules.store(name, rules))
        if changed:
            await self._tell({"op": RULES})
        return changed

    def _call(self, packed: tuple[str, str], until: int) -> tuple[str, Sequence[str], Sequence[str | int]]:
        keys = self._keys
        names = (keys.revoked, keys.revoked_until, keys.revoked_version)
        return "revoke", names, (token_hex(8), self._settings.revocations, packed[0], until, packed[1])

    async def _tell(self, entry: Mapping[str, Any]) -> None:
        """It is stored, so whoever cannot be told finds it."""
        try:
            nodes = await self._pipe.ask("ZRANGE", self._keys.nodes, 0, -1)
        except BusError:
            return
        for node in nodes:
            self._relay.control(node.decode(), dict(entry), ignore)

    # What is there -----------------------------------------------------------------------------------------------

    async def newest(self, limit: int) -> tuple[list[Kept], int]:
        """What is revoked, what is kept longest first, and how many there are. Raises `BusError`."""
        keys = self._keys
        total = int(await self._pipe.ask("ZCARD", keys.revoked_until))
        names = await self._pipe.ask("ZREVRANGE", keys.revoked_until, 0, limit - 1)
        return [kept for kept in await self.named(_text(name) for name in names)], total

    async def named(self, names: Iterable[str]) -> list[Kept]:
        """Those of these names that are in force. Raises `BusError`."""
        wanted = list(names)
        values = await self._pipe.ask("HMGET", self._keys.revoked, *wanted) if wanted else ()
        now = self._clock.wall() * 1000
        read = [unpack(name, _text(value)) for name, value in zip(wanted, values, strict=True) if value is not None]
        return [kept for kept in read if kept is not None and kept.until > now]


def _text(reply: bytes | None) -> str:
    return reply.decode(errors="replace") if reply is not None else ""
