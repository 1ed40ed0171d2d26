"""What becomes of a digest."""

from __future__ import annotations

from dataclasses import replace
from datetime import time

from hypothesis import given
from hypothesis import strategies as st

from bus.people.categories import Category
from bus.people.preferences import Preferences
from bus.people.quiet_hours import QuietHours
from bus.trail import Kind
from fanout import job
from fanout.job import Job, delivery_id, digest_id
from fanout.ladder.digest import Sending, flush
from fanout.ladder.due import DueDigest, Gathered, Mark, Person
from fanout.ladder.moves import Note

NOON = 1_800_014_400.0 - 1_800_014_400 % 86_400 + 12 * 3_600
ORDERS = Category("orders")
ALICE = Person("alice", Preferences(), "", ("",))
QUIET = Preferences(quiet_hours=QuietHours(time(11), time(13), channels=("email",)))
FIRST = Gathered("r1", 1, "read", Mark(1, expires_at=NOON + 90))
SECOND = Gathered("r2", 2, None, Mark(2, expires_at=NOON + 60))
THIRD = Gathered("r3", 1, "acked", Mark(3))


def digest(*events: Gathered, person: Person = ALICE) -> DueDigest:
    return DueDigest(b"timer", "email", "orders", person, events)


def marked(event: Gathered, **more: bool) -> Gathered:
    return replace(event, mark=replace(event.mark, **more))


def test_all_go_out_as_one() -> None:
    together = Note(Kind.QUEUED, "digest")
    assert flush(digest(FIRST, SECOND), ORDERS, "UTC", NOON) == Sending(
        ((FIRST, together), (SECOND, together)),
        (
            Job(
                id=digest_id(("r1", "r2"), "alice", "email"),
                ref="r2",
                user="alice",
                step=2,
                kind=job.Kind.DIGEST,
                refs=("r1", "r2"),
                category="orders",
                expires_at=NOON + 90,
            ),
        ),
    )


def test_it_lives_as_long_as_the_last_of_its_events() -> None:
    assert flush(digest(FIRST, THIRD), ORDERS, "UTC", NOON).jobs[0].expires_at is None


def test_what_was_read_or_withdrawn_meanwhile_is_left_out() -> None:
    read, gone, acked = marked(FIRST, read=True), marked(SECOND, withdrawn=True), marked(THIRD, acked=True)
    late = Gathered("r4", 1, None, Mark(4, expires_at=NOON))
    kept = (Gathered("r5", 1, None, Mark(5, acked=True)), Gathered("r6", 1, "read", Mark(6, acked=True)))
    sending = flush(digest(read, gone, acked, late, *kept), ORDERS, "UTC", NOON)
    assert dict(sending.notes) == {
        read: Note(Kind.CANCELLED, "read"),
        gone: Note(Kind.CANCELLED, "withdrawn"),
        acked: Note(Kind.CANCELLED, "acked"),
        late: Note(Kind.EXPIRED),
        kept[0]: Note(Kind.QUEUED, "digest"),
        kept[1]: Note(Kind.QUEUED, "digest"),
    }
    assert [one.refs for one in sending.jobs] == [("r5", "r6")]


def test_nobody_is_told_twice_of_what_they_have_read() -> None:
    assert flush(digest(marked(SECOND, read=True)), ORDERS, "UTC", NOON).jobs == ()


def test_one_that_is_left_goes_out_by_itself() -> None:
    sending = flush(digest(marked(FIRST, read=True), THIRD), ORDERS, "UTC", NOON)
    (only,) = sending.jobs
    assert (only.kind, only.ref, only.offset, only.unless, only.refs) == (job.Kind.SEND, "r3", 3, "acked", ())
    assert only.id == delivery_id("r3", "alice", "email", step=only.step)
    assert sending.notes[1][1] == Note(Kind.QUEUED)


def test_an_empty_one_sends_nothing() -> None:
    assert flush(digest(), ORDERS, "UTC", NOON) == Sending(())


def test_quiet_hours_hold_all_of_it() -> None:
    read = marked(FIRST, read=True)
    sending = flush(digest(read, SECOND, person=replace(ALICE, preferences=QUIET)), ORDERS, "UTC", NOON)
    told = Note(Kind.DEFERRED, f"quiet hours until {NOON + 3_600:.0f}")
    assert sending == Sending(((SECOND, told),), until=NOON + 3_600)


def test_who_turned_it_off_meanwhile_gets_none_of_it() -> None:
    off = replace(ALICE, preferences=Preferences(channels={"email": False}))
    sending = flush(digest(FIRST, SECOND, person=off), ORDERS, "UTC", NOON)
    assert {note for _, note in sending.notes} == {Note(Kind.SKIPPED, "channel off")}
    assert sending.jobs == ()
    nowhere = flush(digest(FIRST, person=replace(ALICE, targets=())), ORDERS, "UTC", NOON)
    assert nowhere.notes == ((FIRST, Note(Kind.SKIPPED, "no target")),)


MARKS = st.builds(
    Mark, st.integers(0, 9), st.booleans(), st.booleans(), st.booleans(), st.none() | st.floats(0, 2 * NOON)
)


@given(st.lists(MARKS, max_size=6), st.sampled_from([Preferences(), QUIET]), st.sampled_from([(), ("",), ("a", "b")]))
def test_every_event_is_told_of_and_each_target_gets_one_message(
    marks: list[Mark], preferences: Preferences, targets: tuple[str, ...]
) -> None:
    events = [Gathered(f"r{n}", 1, None, mark) for n, mark in enumerate(marks)]
    sending = flush(digest(*events, person=Person("alice", preferences, "", targets)), ORDERS, "UTC", NOON)
    if sending.until is not None:
        assert not sending.jobs
        assert {note.kind for _, note in sending.notes} == {Kind.DEFERRED}
        return
    assert [event for event, _ in sending.notes] == events
    queued = [event.ref for event, note in sending.notes if note.kind is Kind.QUEUED]
    assert len(sending.jobs) == (len(targets) if queued else 0)
    for one in sending.jobs:
        assert list(one.refs or (one.ref,)) == queued
