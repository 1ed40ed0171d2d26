"""What becomes of a digest whose window is over: one message for all that its person still wants to know. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bus.people.categories import Category
from bus.trail import Kind
from fanout.job import Job
from fanout.ladder.due import DueDigest, Gathered
from fanout.ladder.gate import Cancel, Defer, Go, Skip, Verdict, gate
from fanout.ladder.moves import Note, cancelled, deferred, jobs_for, standing

TOGETHER: Final = "digest"
"""Reason in the trail of an event that goes out with others."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What is done about a digest: a note for each of its events, and the jobs that tell of those still wanted."""

    notes: tuple[tuple[Gathered, Note], ...]
    jobs: tuple[Job, ...] = ()
    until: float | None = None
    """Nothing is sent, and all of it comes again at this Unix time in seconds."""


def flush(due: DueDigest, category: Category, zone: str, now: float) -> Sending:
    """What to do about a digest at Unix time `now`: what was read or withdrawn meanwhile is left out.

    `zone`: where people are who have not said so.
    """
    judged = [(event, _judge(event, due, category, zone, now)) for event in due.events]
    put_off = [(event, verdict) for event, verdict in judged if isinstance(verdict, Defer)]
    if put_off:
        notes = tuple((event, deferred(verdict.reason, verdict.until)) for event, verdict in put_off)
        return Sending(notes, until=max(verdict.until for _, verdict in put_off))
    wanted = [event for event, verdict in judged if isinstance(verdict, Go)]
    jobs = jobs_for(wanted, due.person, due.channel, due.category) if wanted else ()
    queued = Note(Kind.QUEUED, TOGETHER if len(wanted) > 1 else "", len(jobs))
    return Sending(tuple((event, _left_out(verdict) or queued) for event, verdict in judged), jobs)


def _judge(event: Gathered, due: DueDigest, category: Category, zone: str, now: float) -> Verdict:
    return gate(standing(due.person, event.mark, category, zone), due.channel, event.condition, now)


def _left_out(verdict: Verdict) -> Note | None:
    match verdict:
        case Cancel(reason):
            return cancelled(reason)
        case Skip(reason):
            return Note(Kind.SKIPPED, reason)
        case _:
            return None
