"""Forgetting a person: all nodes end their connections, and what is kept of them is erased.

The connections go first. What a session still says on its way out would otherwise begin their story anew.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from bus.errors import BusError
from bus.keys import Keys, inbox_of
from bus.people.erase import Eraser
from bus.pipe import Pipe
from gateway.relay import Relay

FORGET: Final = "forget"
LOOK: Final = 0.02
LOOKS: Final = 150
"""How often, and how many seconds after each other, is looked whether all nodes are done. What a node that hangs for
longer still writes about a person has an expiry."""


class Forgetting:
    """Across all nodes of an installation."""

    def __init__(self, pipe: Pipe, keys: Keys, relay: Relay, eraser: Eraser) -> None:
        self._pipe, self._keys, self._relay, self._eraser = pipe, keys, relay, eraser

    async def forget(self, user: str) -> None:
        """Erase a person. Raises `BusError`; then it may be called again."""
        nodes = [node.decode() for node in await self._pipe.ask("ZRANGE", self._keys.nodes, 0, -1)]
        told = {node for node in nodes if await self._tell(node, user)}
        for _ in range(LOOKS):
            if not told & await self._routes(user):
                break
            await asyncio.sleep(LOOK)
        await self._eraser.erase(user)
        # Once more: in the meantime, what is about the person may have gone to the nodes.
        for node in sorted(told):
            await self._tell(node, user)

    async def _routes(self, user: str) -> set[str]:
        return {node.decode() for node in await self._pipe.ask("HKEYS", self._keys.routes(inbox_of(user)))}

    async def _tell(self, node: str, user: str) -> bool:
        """Whether the node lives. It ends the person's connections, and drops what it has read of its stream."""
        answered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._relay.control(node, {"op": FORGET, "user": user}, answered.set_result)
        reply = await answered
        if isinstance(reply, BusError):
            raise reply
        return bool(reply)
