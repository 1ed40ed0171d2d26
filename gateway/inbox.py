"""A person's inbox: its pages, what of it was seen, read and put away, on all of their devices alike."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson

from bus.cursor import MAX_OFFSET
from bus.errors import BusDown
from bus.keys import inbox_of
from gateway.effects import Failed, Page
from gateway.history import History
from gateway.procedures import Answer, Caller, Params, Procedure, bad
from gateway.wire.replies import publications

PAGE: Final = 100


class Inbox:
    """Procedures on inboxes."""

    def __init__(self, history: History) -> None:
        self._history = history

    def procedures(self) -> Mapping[str, Procedure]:
        """By name."""
        return {"inbox.list": self.list, "inbox.count": self.count}

    async def list(self, caller: Caller, params: Params) -> Answer:
        """`{"before": offset, "limit": n}`, both optional: notifications, newest first, with the inbox's position."""
        before, limit = params.get("before"), params.get("limit", PAGE)
        if type(limit) is not int or not 1 <= limit <= PAGE:
            return bad(f"must be a whole number from 1 to {PAGE}", "/limit")
        if before is not None and (type(before) is not int or not 1 <= before <= MAX_OFFSET):
            return bad("must be an offset", "/before")
        answered: asyncio.Future[Page | Failed] = asyncio.get_running_loop().create_future()
        self._history.read(inbox_of(caller.user), limit, before, True, answered.set_result)
        page = await answered
        if isinstance(page, Failed):
            raise BusDown("no history")
        shown: dict[str, Any] = {"epoch": page.epoch, "offset": page.offset}
        shown["publications"] = orjson.loads(orjson.dumps(publications(page.publications)))
        return shown

    async def count(self, caller: Caller, params: Params) -> Answer:
        """How many notifications the inbox holds."""
        answered: asyncio.Future[int | Failed] = asyncio.get_running_loop().create_future()
        self._history.count(inbox_of(caller.user), answered.set_result)
        total = await answered
        if isinstance(total, Failed):
            raise BusDown("no history")
        return {"total": total}
