"""What becomes of a step: the ladder as a table."""

from __future__ import annotations

from dataclasses import replace
from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import CONDITIONS, VIAS, Step
from bus.people.categories import DEFAULT_LADDER, Categories, Category, Digest
from bus.people.preferences import Preferences
from bus.people.quiet_hours import QuietHours
from bus.trail import Kind
from fanout.job import Job, delivery_id
from fanout.ladder.due import DueStep, Gathered, Mark, Person
from fanout.ladder.moves import Move, Note, decide
from fanout.ladder.rungs import Rung

NOON = 1_800_014_400.0 - 1_800_014_400 % 86_400 + 12 * 3_600
REF = "4.shop/1"
ORDERS = Category("orders")
ALICE = Person("alice", Preferences(), "", ("d1", "d2"))
PUSH = DueStep(b"timer", REF, 1, DEFAULT_LADDER, "orders", ALICE, Mark(7, expires_at=NOON + 60))
MAIL = replace(PUSH, index=2, person=replace(ALICE, targets=("",)))
QUIET = Preferences(quiet_hours=QuietHours(time(11), time(13)))
THEN_MAIL = Rung(2, 600)


def job(target: str, channel: str, index: int, unless: str | None) -> Job:
    return Job(
        id=delivery_id(REF, "alice", channel, target, step=index),
        ref=REF,
        user="alice",
        offset=7,
        step=index,
        unless=unless,
        target=target,
        category="orders",
        expires_at=NOON + 60,
    )


def with_mark(due: DueStep, **more: Any) -> DueStep:
    return replace(due, mark=replace(due.mark, **more))


def who(due: DueStep, **more: Any) -> DueStep:
    return replace(due, person=replace(due.person, **more))


PUSHES = (job("d1", "push", 1, "acked"), job("d2", "push", 1, "acked"))
TABLE: list[tuple[str, DueStep, Category, Move]] = [
    ("a push to each device", PUSH, ORDERS, Move(Note(Kind.QUEUED, count=2), PUSHES, next=THEN_MAIL)),
    ("the last rung", MAIL, ORDERS, Move(Note(Kind.QUEUED), (job("", "email", 2, "read"),))),
    (
        "acked: the mail still comes",
        with_mark(PUSH, acked=True),
        ORDERS,
        Move(Note(Kind.CANCELLED, "acked"), next=THEN_MAIL),
    ),
    (
        "read: the mail is asked about when due",
        with_mark(PUSH, read=True),
        ORDERS,
        Move(Note(Kind.CANCELLED, "read"), next=THEN_MAIL),
    ),
    ("read before the mail", with_mark(MAIL, read=True), ORDERS, Move(Note(Kind.CANCELLED, "read"))),
    ("withdrawn: all is over", with_mark(PUSH, withdrawn=True), ORDERS, Move(Note(Kind.CANCELLED, "withdrawn"))),
    ("too late: all is over", with_mark(PUSH, expires_at=NOON), ORDERS, Move(Note(Kind.EXPIRED))),
    ("no device: the mail comes", who(PUSH, targets=()), ORDERS, Move(Note(Kind.SKIPPED, "no target"), next=THEN_MAIL)),
    (
        "no push wanted: the mail comes",
        who(PUSH, preferences=Preferences(channels={"push": False})),
        ORDERS,
        Move(Note(Kind.SKIPPED, "channel off"), next=THEN_MAIL),
    ),
    (
        "at night: in the morning",
        who(PUSH, preferences=QUIET),
        ORDERS,
        Move(Note(Kind.DEFERRED, f"quiet hours until {NOON + 3_600:.0f}"), until=NOON + 3_600),
    ),
    (
        "night where they live",
        who(PUSH, preferences=QUIET, zone="Asia/Tokyo"),
        ORDERS,
        Move(Note(Kind.QUEUED, count=2), PUSHES, next=THEN_MAIL),
    ),
    (
        "into a digest",
        MAIL,
        replace(ORDERS, digest={"email": Digest(60, 5)}),
        Move(Note(Kind.DIGESTED), gathered=Gathered(REF, 2, "read", MAIL.mark), digest=Digest(60, 5)),
    ),
    (
        "a digest of pushes, the mail as ever",
        PUSH,
        replace(ORDERS, digest={"push": Digest(60)}),
        Move(Note(Kind.DIGESTED), gathered=Gathered(REF, 1, "acked", PUSH.mark), digest=Digest(60), next=THEN_MAIL),
    ),
    (
        "a digest that the person does not want",
        who(MAIL, preferences=Preferences(digest={"orders": {"email": None}})),
        replace(ORDERS, digest={"email": Digest(60)}),
        Move(Note(Kind.QUEUED), (job("", "email", 2, "read"),)),
    ),
    ("the event is gone", replace(PUSH, ladder=()), ORDERS, Move(Note(Kind.EXPIRED, count=0))),
]


@pytest.mark.parametrize(("due", "category", "move"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_the_table(due: DueStep, category: Category, move: Move) -> None:
    assert decide(due, category, "UTC", NOON) == move


def test_where_nobody_said_where_they_are_it_is_where_the_settings_say() -> None:
    assert decide(who(PUSH, preferences=QUIET), ORDERS, "Asia/Tokyo", NOON).until is None


def test_what_is_counted_is_what_is_told() -> None:
    assert Note(Kind.SKIPPED, "no target").state == "skipped"


def test_an_event_without_an_end_gives_jobs_without_one() -> None:
    (only,) = decide(with_mark(MAIL, expires_at=None), ORDERS, "UTC", NOON).jobs
    assert only.expires_at is None


MARKS = st.builds(
    Mark,
    st.integers(0, 9),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.floats(NOON - 9, NOON + 9_000),
)
LADDERS = st.lists(
    st.builds(Step, st.sampled_from(VIAS), st.integers(0, 99), st.sampled_from([None, *CONDITIONS])),
    min_size=1,
    max_size=6,
).map(tuple)
PEOPLE = st.builds(
    Person,
    st.just("alice"),
    st.sampled_from([Preferences(), QUIET, Preferences(channels={"push": False, "email": False})]),
    st.sampled_from(["", "UTC", "Asia/Tokyo"]),
    st.sampled_from([(), ("",), ("d1", "d2")]),
)
CATEGORIES = Categories({"orders": {"digest": {"email": {"window": 60}}}, "codes": {"required": True}})


@given(LADDERS, st.data(), PEOPLE, MARKS, st.sampled_from(["", "orders", "codes"]))
def test_every_step_is_sent_told_of_or_comes_again(
    ladder: tuple[Step, ...], data: st.DataObject, person: Person, mark: Mark, category: str
) -> None:
    index = data.draw(st.sampled_from([i for i, step in enumerate(ladder) if step.via != "live"] or [0]))
    due = DueStep(b"timer", REF, index, ladder, category, person, mark)
    move = decide(due, CATEGORIES.of(category), "UTC", NOON)
    sent = bool(move.jobs) or move.gathered is not None
    assert sent == (move.note.kind in (Kind.QUEUED, Kind.DIGESTED))
    assert len(move.jobs) == (len(person.targets) if move.note.kind is Kind.QUEUED else 0)
    assert (move.until is not None) == (move.note.kind is Kind.DEFERRED)
    assert sent or move.note.reason or move.note.kind is Kind.EXPIRED
    if move.until is not None:
        assert move.until > NOON
        assert move.next is None
    if sent:
        assert not mark.withdrawn
        assert not (ladder[index].unless and mark.read)
    if move.next is not None:
        assert move.next.index > index
