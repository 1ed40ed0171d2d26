"""One reading of a topic's log for many who come back to it at once: after a deploy, thousands ask for the same.

While a reading is under way, those who come wait for the next, which is for all of them; and where many came, what was
read is kept for a moment. The hub keeps what is published meanwhile, so that nothing lies between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bus.errors import BusError
from bus.pipe import OnReply, Reply
from gateway.hub import Hub
from gateway.pace import Pace

KEPT: Final = 0.5
"""How long what was read is given to those who come, in seconds."""
MOST: Final = 64
"""Topics of which it is kept."""

Read = Callable[[str, int | None, OnReply], None]
"""Reads a topic's log behind an offset, or only its position; see join.lua."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    since: int | None
    on_reply: OnReply


@dataclass(frozen=True, slots=True)
class _Kept:
    since: int
    reply: Reply
    timer: asyncio.TimerHandle


class SharedReads:
    """`limit`: most publications of one reading; `on_idle` is told of a topic that went when it was let go. Those who
    get what was read get it at `pace`; until then each has a join of its own under way."""

    def __init__(self, hub: Hub, read: Read, limit: int, on_idle: Callable[[str], None], pace: Pace) -> None:
        self._hub, self._read, self._limit, self._on_idle, self._pace = hub, read, limit, on_idle, pace
        self._waiting: dict[str, list[_Waiting]] = {}
        """Of the topics of which a reading is under way, those who wait for the next."""
        self._kept: dict[str, _Kept] = {}

    def fetch(self, name: str, since: int | None, on_reply: OnReply) -> None:
        """Read a topic's log behind an offset, alone or with others. The join that this is for has begun."""
        kept = self._kept.get(name)
        if kept is not None and _covers(kept.reply, kept.since, since):
            self._pace.later(on_reply, kept.reply)
        elif name in self._waiting:
            self._waiting[name].append(_Waiting(since, on_reply))
        else:
            self._waiting[name] = []
            self._begin(name, [_Waiting(since, on_reply)])

    def drop(self, name: str) -> None:
        """What was read of a topic is of no use any more."""
        if (kept := self._kept.pop(name, None)) is not None:
            kept.timer.cancel()
            if self._hub.abandon(name):
                self._on_idle(name)

    def _begin(self, name: str, those: Sequence[_Waiting]) -> None:
        since = self._first(name, [one.since for one in those if one.since is not None])

        def answered(reply: Reply) -> None:
            waiting = self._waiting.pop(name)
            if waiting:
                self._keep(name, since, reply)
            served: list[_Waiting] = []
            following: list[_Waiting] = []
            for one in waiting:
                (served if _covers(reply, since, one.since) else following).append(one)
            if following:
                self._waiting[name] = []
            self._pace.each((*those, *served), lambda one: self._answer(name, one, since, reply))
            if following:
                self._begin(name, following)

        self._read(name, since, answered)

    def _answer(self, name: str, one: _Waiting, since: int | None, reply: Reply) -> None:
        alone = one.since is None or one.since == since or isinstance(reply, BusError)
        if alone or _covers(reply, since, one.since) or one.since < _top(reply) - self._limit:  # type: ignore[operator]
            one.on_reply(reply)
        else:
            self._read(name, one.since, partial(self._pace.enter, one.on_reply))

    def _first(self, name: str, offsets: Sequence[int]) -> int | None:
        """From where to read for all of these: who missed more than is ever given gets nothing anyway."""
        topic = self._hub.topics.get(name)
        oldest = topic.offset - self._limit if topic is not None and topic.epoch is not None else 0
        recent = [offset for offset in offsets if offset >= oldest]
        return min(recent or offsets, default=None)

    def _keep(self, name: str, since: int | None, reply: Reply) -> None:
        self.drop(name)
        if since is None or isinstance(reply, BusError) or len(self._kept) >= MOST:
            return
        self._hub.begin(name)  # from now on it keeps what is published
        timer = asyncio.get_running_loop().call_later(KEPT, self.drop, name)
        self._kept[name] = _Kept(since, reply, timer)


def _top(reply: Reply) -> int:
    return int(reply[1])


def _covers(reply: Reply, since: int | None, wanted: int | None) -> bool:
    """Whether what was read behind `since` has all behind `wanted` too."""
    if isinstance(reply, BusError):
        return False
    if wanted is None:
        return True
    top, flat = _top(reply), reply[2]
    if since is None or not since <= wanted <= top:
        return False
    return wanted == top or (bool(flat) and flat[0] <= wanted + 1 and flat[-2] >= top)
