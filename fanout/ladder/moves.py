"""What becomes of a step that is due: decided here from what due.lua told. Pure.

A step that is passed over does not end the ladder: the next one has its own conditions, and who did not want a push may
want the mail. Only what ends the event itself ends the ladder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bus.event import Step
from bus.people.categories import Category, Digest
from bus.people.preferences import digest_of
from bus.trail import Kind
from fanout import job
from fanout.job import Job, delivery_id, digest_id
from fanout.ladder.due import DueStep, Gathered, Mark, Person
from fanout.ladder.gate import EXPIRED, Cancel, Defer, Go, Skip, Standing, gate
from fanout.ladder.rungs import Rung, next_rung


@dataclass(frozen=True, slots=True)
class Note:
    """What is told: a kind for the trail, why, and the state that is counted, so many times."""

    kind: Kind
    reason: str = ""
    count: int = 1

    @property
    def state(self) -> str:
        """As counts name it."""
        return self.kind.value


@dataclass(frozen=True, slots=True)
class Move:
    """What is done about a step."""

    note: Note
    jobs: tuple[Job, ...] = ()
    gathered: Gathered | None = None
    """What goes into a digest, in the place of jobs."""
    digest: Digest | None = None
    next: Rung | None = None
    until: float | None = None
    """The step comes again at this Unix time in seconds."""


# A step --------------------------------------------------------------------------------------------------------------


def decide(due: DueStep, category: Category, zone: str, now: float) -> Move:
    """What to do about a step at Unix time `now`; `zone`: where people are who have not said so."""
    step = due.step
    if step is None:
        return Move(Note(Kind.EXPIRED, count=0))
    verdict = gate(standing(due.person, due.mark, category, zone), step.via, step.unless, now)
    following = next_rung(due.ladder, due.index)
    match verdict:
        case Go():
            return _taken(due, step, category, following)
        case Skip(reason):
            return Move(Note(Kind.SKIPPED, reason), next=following)
        case Cancel(reason):
            return Move(cancelled(reason), next=None if verdict.ends_ladder else following)
        case Defer(until, reason):
            return Move(deferred(reason, until), until=until)


def _taken(due: DueStep, step: Step, category: Category, following: Rung | None) -> Move:
    event = Gathered(due.ref, due.index, step.unless, due.mark)
    if digest := digest_of(due.person.preferences, category, step.via):
        return Move(Note(Kind.DIGESTED), gathered=event, digest=digest, next=following)
    jobs = jobs_for([event], due.person, step.via, due.category)
    return Move(Note(Kind.QUEUED, count=len(jobs)), jobs, next=following)


# For digests too -----------------------------------------------------------------------------------------------------


def standing(person: Person, mark: Mark, category: Category, zone: str) -> Standing:
    """What the gate wants to know."""
    return Standing(
        category=category,
        preferences=person.preferences,
        zone=person.zone or zone,
        has_target=bool(person.targets),
        acked=mark.acked,
        read=mark.read,
        withdrawn=mark.withdrawn,
        expires_at=mark.expires_at,
    )


def cancelled(reason: str) -> Note:
    """What is told of a step that is not needed."""
    return Note(Kind.EXPIRED) if reason == EXPIRED else Note(Kind.CANCELLED, reason)


def deferred(reason: str, until: float) -> Note:
    """What is told of a step that is put off."""
    return Note(Kind.DEFERRED, f"{reason} until {round(until)}")


def jobs_for(events: Sequence[Gathered], person: Person, channel: str, category: str) -> tuple[Job, ...]:
    """A job for each target: an event by itself, or several as one message."""
    newest, many = events[-1], len(events) > 1
    refs = tuple(event.ref for event in events) if many else ()
    ends = [event.mark.expires_at for event in events]
    expires_at = None if None in ends else max(end for end in ends if end is not None)
    return tuple(
        Job(
            id=digest_id(refs, person.name, channel, target)
            if many
            else delivery_id(newest.ref, person.name, channel, target, step=newest.index),
            ref=newest.ref,
            user=person.name,
            offset=0 if many else newest.mark.offset,
            step=newest.index,
            unless=None if many else newest.unless,
            target=target,
            kind=job.Kind.DIGEST if many else job.Kind.SEND,
            refs=refs,
            category=category,
            expires_at=expires_at,
        )
        for target in person.targets
    )
