"""Commits what was decided about due timers, each in one fenced script that checks once more.

A commit that finds the step no longer as it was read does nothing, and the step is read again: so an ack between the
reading and the commit still stops it, and a step taken twice gives one job.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, assert_never

from bus.errors import BusError, Refused
from bus.keys import Keys, escape, inbox_of
from bus.lease import Fenced, Lease
from bus.people.categories import MAX_DIGEST, Categories
from bus.pipe import Arg, Call, Pipe, Reply
from fanout.job import Job
from fanout.ladder.digest import flush
from fanout.ladder.due import Broken, Due, DueDigest, DueStep, Item, digest_timer, read, step_timer
from fanout.ladder.moves import Move, decide
from fanout.stats import Stats

BATCH: Final = 100
"""Timers looked at in one script."""

log = logging.getLogger(__name__)


class Steps:
    """Takes the due steps of all partitions of a worker.

    `zone`: where people are who have not said so; `ttl`: seconds for which trails and counts are kept; `dead`: most
    dead letters of a partition.
    """

    def __init__(
        self, pipe: Pipe, keys: Keys, categories: Categories, *, zone: str, ttl: int, dead: int, stats: Stats
    ) -> None:
        self._pipe, self._keys, self._categories = pipe, keys, categories
        self._zone, self._ttl, self._dead, self._stats = zone, ttl, dead, stats

    async def look(self, lease: Lease) -> Due:
        """What is due in a partition; scheduled events are moved on by that. Raises `Fenced`, `BusError`."""
        p = lease.partition
        names = (self._keys.lease(p), self._keys.events(p), self._keys.timers(p))
        (reply,) = await self._pipe.scripts([("due", names, (lease.owner, lease.fence, BATCH, MAX_DIGEST))])
        _raise(reply, lease)
        return read(reply)

    async def take(self, lease: Lease, due: Due) -> int:
        """Commit what is decided about each; how many were. Raises `Fenced`, `BusError`.

        What was not committed stays due. A timer that Redis refuses to work is buried.
        """
        replies = await self._pipe.scripts(self._call(lease, item, due.now) for item in due.items)
        done, failed = 0, []
        for item, reply in zip(due.items, replies, strict=True):
            if not isinstance(item, Broken) and _is_to_blame(reply):
                failed.append(Broken(item.timer, f"Redis refused: {reply.code}"))
                continue
            _raise(reply, lease)
            done += reply
            self._count(item, reply)
        return done + (await self.take(lease, Due(None, due.now, tuple(failed))) if failed else 0)

    def _count(self, item: Item, done: int) -> None:
        match item:
            case DueStep():
                self._stats.steps += done
            case DueDigest():
                self._stats.digests += done
            case Broken(_, reason):
                self._stats.timers_buried += done
                log.warning("buried a timer", extra={"reason": reason})

    # The calls -------------------------------------------------------------------------------------------------------

    def _call(self, lease: Lease, item: Item, now: float) -> Call:
        match item:
            case DueStep():
                return self._step(lease, item, now)
            case DueDigest():
                return self._digest(lease, item, now)
            case Broken(timer, reason):
                p = lease.partition
                names = (self._keys.lease(p), self._keys.timers(p), self._keys.dead(p))
                return "bury_timer", names, (lease.owner, lease.fence, timer, reason, self._dead)
            case _:
                assert_never(item)

    def _step(self, lease: Lease, due: DueStep, now: float) -> Call:
        keys, p, user = self._keys, lease.partition, due.person.name
        move = decide(due, self._categories.of(due.category), self._zone, now)
        channel = due.step.via if due.step is not None else ""
        inbox = inbox_of(user)
        names = [keys.lease(p), keys.timers(p), keys.withdrawn(p, due.ref), keys.log(inbox), keys.meta(inbox)]
        names += [keys.unread(user), keys.trail(user), keys.counts(p, due.ref), keys.jobs(p, channel)]
        names += [keys.digest(user, channel, due.category), keys.digests(user)]
        note = move.note
        args: list[Arg] = [lease.owner, lease.fence, due.timer, escape(due.ref), self._ttl]
        args += [(due.step and due.step.unless) or "", due.mark.offset, note.kind.value, channel, note.reason]
        args += [
            note.state if note.count else "",
            note.count,
            *_following(due, move),
            *_into_digest(due, channel, move),
        ]
        return "step", names, [*args, *_packed(move.jobs)]

    def _digest(self, lease: Lease, due: DueDigest, now: float) -> Call:
        keys, p, user = self._keys, lease.partition, due.person.name
        sending = flush(due, self._categories.of(due.category), self._zone, now)
        inbox = inbox_of(user)
        names = [keys.lease(p), keys.timers(p), keys.digest(user, due.channel, due.category), keys.digests(user)]
        names += [keys.log(inbox), keys.meta(inbox), keys.unread(user), keys.trail(user), keys.jobs(p, due.channel)]
        until = "" if sending.until is None else round(sending.until * 1000)
        args: list[Arg] = [lease.owner, lease.fence, due.timer, self._ttl, due.channel]
        args += [_digest_name(due.channel, due.category), until, len(sending.notes)]
        for event, note in sending.notes:
            names += [keys.withdrawn(p, event.ref), keys.counts(p, event.ref)]
            args += [escape(event.ref), event.mark.offset, event.condition, note.kind.value, note.reason]
            args += [note.state, note.count]
        return "digest", names, [*args, *_packed(sending.jobs)]


def _following(due: DueStep, move: Move) -> tuple[Arg, ...]:
    """Next timer, its wait (ms), its time (Unix ms)."""
    if move.until is not None:
        return due.timer, 0, round(move.until * 1000)
    if move.next is None:
        return "", 0, ""
    return step_timer(due.ref, due.person.name, move.next.index), move.next.wait * 1000, ""


def _into_digest(due: DueStep, channel: str, move: Move) -> tuple[Arg, ...]:
    """Entry, timer, window (ms), most events, name."""
    if move.gathered is None or move.digest is None:
        return "", "", 0, 0, ""
    timer = digest_timer(due.person.name, channel, due.category)
    name = _digest_name(channel, due.category)
    return move.gathered.entry(), timer, move.digest.window * 1000, move.digest.max, name


def _digest_name(channel: str, category: str) -> str:
    return f"{escape(channel)} {escape(category)}"


def _packed(jobs: Sequence[Job]) -> list[Arg]:
    packed: list[Arg] = []
    for job in jobs:
        fields = job.fields()
        packed += [len(fields), *fields]
    return packed


def _is_to_blame(reply: Reply) -> bool:
    return isinstance(reply, Refused) and reply.code != "FENCED" and not reply.passing


def _raise(reply: Reply, lease: Lease) -> None:
    if isinstance(reply, Refused) and reply.code == "FENCED":
        raise Fenced(f"partition {lease.partition}")
    if isinstance(reply, BusError):
        raise reply
