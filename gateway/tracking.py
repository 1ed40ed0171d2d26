"""Reads what became of an event from all partitions, and withdraws it in all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson

from bus.clock import Clock
from bus.errors import BusError
from bus.event import Step, ref_of
from bus.keys import Keys, escape, inbox_of
from bus.pipe import Arg, Call, Pipe, Reply
from bus.ranges import covers, parse
from bus.trail import Trace, decode
from gateway.tracks import (
    Person,
    Waiting,
    Whole,
    condition_in_digest,
    gathered,
    is_of,
    ladder_of,
    reason_of,
    taken_back,
    total,
    was_read,
)

PAGE: Final = 500
"""Entries of a trail looked at per call."""
LOOKED_AT: Final = 100
"""Newest entries of each stream among which an event is looked for that nobody was given."""


class Tracking:
    """`remembered`: how long an event is refused that was withdrawn before anybody had it, in seconds."""

    def __init__(self, pipe: Pipe, keys: Keys, clock: Clock, remembered: int) -> None:
        self._pipe, self._keys, self._clock, self._remembered = pipe, keys, clock, remembered * 1000

    # Withdrawing -------------------------------------------------------------------------------------------------

    async def withdraw(self, source: str, id: str) -> int:
        """Withdraw an event everywhere; how many people it had been given to. Raises `BusError`; then do it again.

        When this returns, nothing of it is appended or sent any more. Those who have it are told soon after.
        """
        ref = ref_of(source, id)
        replies = await self._all(self._withdraw_calls(ref, self._remembered))
        # It might have gone out later than we remember for, because it waits for its time or has very much of it.
        left = max(horizon for _, _, horizon in replies) - round(self._clock.wall() * 1000)
        if left > self._remembered:
            await self._all(self._withdraw_calls(ref, left + self._remembered))
        return sum(given for _, given, _ in replies)

    def _withdraw_calls(self, ref: str, stays: int) -> Iterable[Call]:
        k = self._keys
        for p in range(k.partitions):
            names = (k.withdrawn(p, ref), k.body(p, ref), k.seen(p, ref), k.bulk(p), k.timers(p), k.counts(p, ref))
            yield "withdraw", names, (ref, stays)

    # The whole ---------------------------------------------------------------------------------------------------

    async def whole(self, source: str, id: str) -> Whole:
        """All that is known of an event; nothing may be. Raises `BusError`."""
        k, ref = self._keys, ref_of(source, id)
        commands: list[tuple[Arg, ...]] = []
        for p in range(k.partitions):
            commands += [("HLEN", k.seen(p, ref)), ("HGETALL", k.counts(p, ref))]
            commands += [("EXISTS", k.withdrawn(p, ref)), ("HMGET", k.body(p, ref), "at", "w")]
        replies = await self._asks(commands)
        counts = total(replies[1::4])
        topics, lapsed = counts.pop("topics", 0), counts.pop("lapsed", 0)
        found = Whole(
            id=id,
            source=source,
            recipients=max(0, sum(replies[0::4]) - topics),
            topics=topics,
            counts=counts,
            withdrawn=any(replies[2::4]) or any(w for _, w in replies[3::4]),
            lapsed=lapsed > 0,
            at=next((int(at) / 1000 for at, _ in replies[3::4] if at and int(at) / 1000 > self._clock.wall()), None),
        )
        return found if found.given or found.withdrawn else await self.look_for(found)

    async def look_for(self, event: Whole) -> Whole:
        """The event with what waiting entries and dead letters know of it, where nobody was given it."""
        k, text = self._keys, orjson.dumps(event.id)[1:-1]
        places = ((k.events(p), k.head(p), k.dead(p)) for p in range(k.partitions))
        found = await self._all(("find_event", names, (text, LOOKED_AT)) for names in places)
        waits = any(is_of(event, flat) for waiting, _ in found for flat in waiting)
        reasons = {reason_of(flat) for _, letters in found for flat in letters if is_of(event, flat)}
        return replace(event, waits=waits, buried=tuple(sorted(reasons)))

    # One person --------------------------------------------------------------------------------------------------

    async def person(self, source: str, id: str, user: str) -> Person:
        """What became of an event for one person. Raises `BusError`."""
        k, ref, inbox = self._keys, ref_of(source, id), inbox_of(user)
        p = k.partition(inbox)
        given, body, meta, routes = await self._asks(
            [
                ("HGET", k.seen(p, ref), inbox),
                ("HMGET", k.body(p, ref), "l", "x", "g"),
                ("HMGET", k.meta(inbox), "acked"),
                ("HLEN", k.routes(inbox)),
            ]
        )
        offset, ladder = int(given or 0), ladder_of(body[0])
        kept, unread, archived = await self._in_inbox(user, offset)
        traces = await self._trail(user, ref)
        read = kept and not unread if not taken_back(traces) else was_read(traces)
        return Person(
            user=user,
            given=given is not None,
            offset=offset,
            kept=kept,
            acked=read or (offset > 0 and covers(parse(meta[0]), offset)),
            read=read,
            archived=archived,
            connected=routes > 0,
            ladder=ladder,
            traces=traces,
            waiting=await self._waiting(p, ref, user, ladder, gathered(traces), (body[2] or b"").decode()),
            over=int(body[1]) / 1000 if body[1] else None,
        )

    async def _in_inbox(self, user: str, offset: int) -> tuple[bool, bool, bool]:
        """Whether the inbox still has it, and whether it is unread and archived there."""
        if not offset:
            return False, False, False
        k, entry = self._keys, f"{offset}-0"
        kept, unread, archived = await self._asks(
            [
                ("XRANGE", k.log(inbox_of(user)), entry, entry),
                ("ZSCORE", k.unread(user), offset),
                ("ZSCORE", k.archived(user), offset),
            ]
        )
        return bool(kept), unread is not None, archived is not None

    async def _trail(self, user: str, ref: str) -> tuple[Trace, ...]:
        back: bytes | str = "+"
        traces: list[Trace] = []
        while back:
            args = (escape(ref), back, PAGE)
            last, *found = await self._pipe.script("trail", (self._keys.trail(user),), args)
            traces += [trace for entry_id, flat in found if (trace := decode(entry_id, flat)) is not None]
            back = b"(" + last if last else b""
        return tuple(reversed(traces))

    async def _waiting(
        self, p: int, ref: str, user: str, ladder: Sequence[Step], gathered: Sequence[str], category: str
    ) -> tuple[Waiting, ...]:
        """The steps whose timers run, and the digests that hold the event."""
        waits = {f"step\n{escape(ref)}\n{escape(user)}\n{i}": (s.via, s.unless) for i, s in enumerate(ladder)}
        waits |= {
            f"digest\n{escape(user)}\n{escape(via)}\n{escape(category)}": (via, condition_in_digest(ladder, via))
            for via in gathered
        }
        dues = await self._asks([("ZSCORE", self._keys.timers(p), member) for member in waits])
        found = zip(waits.values(), dues, strict=True)
        return tuple(Waiting(via, unless, float(due) / 1000) for (via, unless), due in found if due is not None)

    # Redis -------------------------------------------------------------------------------------------------------

    async def _all(self, calls: Iterable[Call]) -> list[Any]:
        return _fine(await self._pipe.scripts(calls))

    async def _asks(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        return _fine(await self._pipe.asks(commands) if commands else [])


def _fine(replies: list[Reply]) -> list[Any]:
    """Replies among which there is no error. Raises the first one."""
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply
    return replies
