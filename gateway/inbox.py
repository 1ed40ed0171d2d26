"""A person's inbox: its pages, what of it was seen, read and put away, on all of their devices alike.

Each change is one script, which appends a state publication to the inbox itself; it reaches the person's devices like
any notification, is recovered like any, and a change that changes nothing tells nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from secrets import token_hex
from typing import Any, Final

import orjson

from bus.clock import Clock
from bus.codec import iso
from bus.event import id_in
from bus.keys import Keys, inbox_of, unescape
from bus.pipe import Pipe
from bus.ranges import Ranges, merge
from bus.trail import SIZE as TRAIL
from gateway.joins import META_TTL
from gateway.marks import Acknowledged, Marked, Upto, read_ack, read_marks, read_page, read_upto
from gateway.names import Names
from gateway.procedures import Answer, Caller, Fault, Params, Procedure, bad
from gateway.receipts import Receipts
from gateway.relay import Relay

LOOK: Final = 300
"""Entries looked at by one script: a millisecond of Redis's time."""
PAGE_BYTES: Final = 262_144
"""Most bytes of notifications in a page, give or take one: what a slow phone reads within `outbox_seconds`."""
AT_ONCE: Final = 100
"""Notifications marked by one script, which costs Redis some twenty microseconds for each."""

Change = tuple[int, int, bool]
"""How many are unread, how many of these are unseen, and whether there is more to do."""


class Inbox:
    """Procedures on inboxes. `size` entries and `ttl` seconds are what an inbox keeps."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        clock: Clock,
        names: Names,
        relay: Relay,
        receipts: Receipts,
        *,
        size: int,
        ttl: int,
    ) -> None:
        self._pipe, self._keys, self._clock, self._names = pipe, keys, clock, names
        self._relay, self._receipts = relay, receipts
        self._size, self._ttl = size, ttl

    def procedures(self) -> Mapping[str, Procedure]:
        """By name."""
        return {
            "inbox.list": self.list,
            "inbox.count": self.count,
            "read": self._marking("read"),
            "unread": self._marking("unread"),
            "archive": self._marking("archived"),
            "unarchive": self._marking("unarchived"),
            "seen": self.seen,
            "ack": self.ack,
        }

    # Reading ---------------------------------------------------------------------------------------------------------

    async def list(self, caller: Caller, params: Params) -> Answer:
        """A page, newest first: see `gateway.marks.read_page` for the parameters."""
        page = read_page(params)
        if isinstance(page, Fault):
            return page
        items: list[dict[str, Any]] = []
        before, room = page.before, PAGE_BYTES
        while True:
            missing = page.limit - len(items)
            reply = await self._look(caller.user, before, page.state, missing, room)
            epoch, top, unread, unseen, next_before, *found = reply
            items += [_item(*each) for each in found]
            before, room = next_before.decode(), room - sum(len(each[-1]) for each in found)
            if not before or len(items) >= page.limit or room <= 0:
                break
        return {
            "epoch": epoch.decode(),
            "offset": top,
            "items": items,
            "unread": unread,
            "unseen": unseen,
            "more": bool(before),
        }

    async def count(self, caller: Caller, params: Params) -> Answer:
        """How many are unread, how many of these unseen, and how many there are in all."""
        _, _, unread, unseen, _ = await self._look(caller.user, "+", "all", 0)
        keys, inbox = self._keys, inbox_of(caller.user)
        total, start = 0, "-"
        while start:
            arguments = (start, LOOK, keys.body_prefix(keys.partition(inbox)))
            count, last = await self._pipe.script("inbox_total", (keys.log(inbox),), arguments)
            total += count
            start = last and "(" + last.decode()
        return {"unread": unread, "unseen": unseen, "total": total}

    async def _look(self, user: str, before: str, state: str, wanted: int, room: int = 0) -> Any:
        keys = self._keys
        log, meta, _, bodies = keys.listening(inbox_of(user))
        names = (log, meta, keys.unread(user), keys.archived(user))
        arguments = (self._names.next(), before, state, wanted, bodies, META_TTL, LOOK, room)
        return await self._pipe.script("inbox_list", names, arguments)

    # Marking ---------------------------------------------------------------------------------------------------------

    def _marking(self, what: str) -> Procedure:
        async def mark(caller: Caller, params: Params) -> Answer:
            marks = read_marks(params, upto=what == "read")
            if isinstance(marks, Fault):
                return marks
            if isinstance(marks, Upto):
                return await self._up_to(caller.user, what, marks.offset)
            offsets = await self._resolved(caller.user, marks)
            for start in range(0, max(1, len(offsets)), AT_ONCE):
                part = offsets[start : start + AT_ONCE]
                unread, unseen, _ = await self._change(caller.user, what, "", part)
            return {"unread": unread, "unseen": unseen}

        return mark

    async def seen(self, caller: Caller, params: Params) -> Answer:
        """The bell was opened when the newest was `upto`."""
        upto = read_upto(params)
        return upto if isinstance(upto, Fault) else await self._up_to(caller.user, "seen", upto.offset)

    async def _up_to(self, user: str, what: str, offset: int) -> Answer:
        more = True
        while more:
            unread, unseen, more = await self._change(user, what, str(offset), ())
        return {"unread": unread, "unseen": unseen}

    async def _change(self, user: str, what: str, up_to: str, offsets: Iterable[int]) -> Change:
        keys, inbox, p = self._keys, inbox_of(user), self._keys.partition(inbox_of(user))
        log, meta, routes, bodies = keys.listening(inbox)
        names = (log, meta, keys.unread(user), keys.archived(user), routes, keys.trail(user))
        arguments = (what, up_to, bodies, keys.counts_prefix(p), token_hex(8), iso(self._clock.wall()))
        limits = (self._ttl, self._size, TRAIL, AT_ONCE)
        reply = await self._pipe.script("inbox_change", names, (*arguments, *limits, *offsets))
        unread, unseen, more, offset, epoch, publication, *nodes = reply
        for node in nodes:
            self._relay.publish(node.decode(), user, offset, epoch.decode(), publication)
        return unread, unseen, bool(more)

    # Acknowledging ---------------------------------------------------------------------------------------------------

    async def ack(self, caller: Caller, params: Params) -> Answer:
        """A device has them. Over a connection only what was written to that connection counts."""
        asked = read_ack(params, alone=caller.connection is None)
        if isinstance(asked, Fault):
            return asked
        ranges = await self._ranges(caller, asked)
        if not ranges:
            return {"acked": 0}
        epoch = asked.epoch or await self._epoch(caller.user)
        noted = await self._receipts.now(caller.user, epoch, ranges)
        if noted == "epoch":
            return bad("is of a log that was made anew since", "/epoch")
        return bad("is above the newest", "/to") if isinstance(noted, str) else {"acked": noted}

    async def _ranges(self, caller: Caller, asked: Acknowledged) -> Ranges:
        if asked.marks is None:
            ranges: Ranges = ((asked.first, asked.to),)
        else:
            ranges = merge((), ((offset, offset) for offset in await self._resolved(caller.user, asked.marks)))
        if caller.connection is None:
            return ranges
        session = caller.connection.session
        received = (session.received(first, to) for first, to in ranges)
        return tuple(each for each in received if each is not None)

    async def _epoch(self, user: str) -> str:
        return (await self._pipe.ask("HGET", self._keys.meta(inbox_of(user)), "epoch") or b"").decode()

    # Ids -------------------------------------------------------------------------------------------------------------

    async def _resolved(self, user: str, marks: Marked) -> tuple[int, ...]:
        """The offsets meant. Ids are looked for in the inbox, newest first; one that is not there is left out."""
        wanted, found = set(marks.ids), list(marks.offsets)
        log, last = self._keys.log(inbox_of(user)), "+"
        while wanted:
            entries = await self._pipe.ask("XREVRANGE", log, last, "-", "COUNT", LOOK)
            for entry_id, fields in entries:
                id = id_in(unescape(fields[1].decode()))
                if id in wanted:
                    found.append(int(entry_id.partition(b"-")[0]))
                    wanted.discard(id)
            if len(entries) < LOOK:
                break
            last = "(" + entries[-1][0].decode()
        return tuple(found)


def _item(offset: int, read: bytes, archived: bytes, seen: bytes, publication: bytes) -> dict[str, Any]:
    """One notification of a page; `publication` is the inside of a JSON object, `"data":…`."""
    return {
        "offset": offset,
        "read": read == b"1",
        "archived": archived == b"1",
        "seen": seen == b"1",
        "notification": orjson.loads(b"{%b}" % publication)["data"],
    }
