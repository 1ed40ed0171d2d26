"""The checker is what every run under faults stands on, so each violation must be found, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import LAWS, Limits, Violation, check
from tests.faults.ledger import (
    REMOVED,
    REPLICATED,
    Accepted,
    Began,
    Buried,
    Called,
    Drained,
    Ended,
    Fault,
    Got,
    Held,
    Ledger,
    Queue,
    Stored,
    Top,
    Withdrawn,
)

ANN, ROOM = "@ann", "room:1"


def good() -> Ledger:
    """A run with something of everything in it, in which all went well."""
    ledger = Ledger(live={"ann/1"}, healed=20.0, end=60.0)
    ledger.accepted = [
        Accepted("a1", (ANN,), 1.0, line="shop"),
        Accepted("a2", (ANN,), 2.0, line="shop", steps=("webhook",), wait=5.0),
        Accepted("a3", (ROOM,), 3.0, line="shop", mode=REPLICATED),
        Accepted("maybe", (ANN,), 4.0, certain=False),
        Accepted("bad", (ANN,), 5.0, poison=True),
        Accepted("lost", (ANN, ROOM), 10.5, partition=3),
        Accepted("gone", (ANN,), 6.0),
        Accepted("acked", (ANN,), 7.0, steps=("webhook",), wait=5.0),
    ]
    ledger.seen = [
        Began("ann/1", ANN, "e.0", 0),
        Began("ann/1", ROOM, "f.0", 0),
        Got("ann/1", ANN, "e.0", 1, "a1", 1.1),
        Got("ann/1", ROOM, "f.0", 1, "lost", 1.1),
        Got("ann/1", ANN, "e.0", 2, "a2", 2.1),
        Began("ann/1", ANN, "e.1", 2, recovered=True, at=12.0),
        Got("ann/1", ANN, "e.1", 3, "acked", 12.1),
        Began("ann/1", ROOM, "f.1", 0, recovered=False, at=12.0),
        Got("ann/1", ROOM, "f.1", 1, "a3", 12.2),
        Began("ann/old", ANN, "e.0", 0),
    ]
    ledger.stored = [
        Stored(ANN, "e.1", 1, "a1"),
        Stored(ANN, "e.1", 2, "a2"),
        Stored(ANN, "e.1", 3, "acked"),
        Stored(ANN, "e.1", 4, REMOVED),
        Stored(ANN, "e.1", 5, "tocsin.state/5"),
        Stored(ROOM, "f.1", 1, "a3"),
    ]
    ledger.seen += [Got("ann/1", ANN, "e.1", 4, "gone", 13.0), Got("ann/1", ANN, "e.1", 5, "tocsin.state/5", 14.0)]
    ledger.tops = [Top(ANN, "e.1", 5), Top(ROOM, "f.1", 1)]
    ledger.calls = [
        Called("k1", "a2", "ann", "webhook", 7.5, again=True),
        Called("k1", "a2", "ann", "webhook", 8.5),
        Called("k2", "gone", "ann", "webhook", 9.0),
    ]
    ledger.ends = [Ended("a2", "ann", "webhook"), Ended("acked", "ann", "webhook", acked=True)]
    ledger.buried = [Buried("bad", reason="it is no event")]
    ledger.faults = [Fault("a master is lost", 10.0, 11.0, interrupts=False, loses=frozenset({3}))]
    ledger.withdrawn = [Withdrawn("gone", 8.5)]
    ledger.drained = [Drained("ann", 1.5, 9.0), Drained("ben", 1.5)]
    ledger.queues = [Queue("events 3", (5, 0), ((5, 1), (6, 0))), Queue("events 4", (9, 0))]
    ledger.left = [Queue("events 3", (6, 0))]
    ledger.held = [Held("publish", 0.004)]
    ledger.before = ledger.after = frozenset({"installation"})
    return ledger


def found(ledger: Ledger) -> list[Violation]:
    return check(ledger, Limits(reach=10.0))


def test_a_good_ledger_passes() -> None:
    assert found(good()) == []
    assert check(Ledger()) == []


Spoil = Callable[[Ledger], object]
SPOILED: list[tuple[str, int, Spoil]] = [
    ("an event is lost for a person", 1, lambda x: x.accepted.append(Accepted("new", (ANN,), 3.0))),
    ("or by a fault elsewhere", 1, lambda x: x.accepted.append(Accepted("new", (ANN,), 10.5, partition=4))),
    ("or after the fault", 1, lambda x: x.accepted.append(Accepted("new", (ANN,), 11.5, partition=3))),
    ("an event nobody sent", 1, lambda x: x.stored.append(Stored(ANN, "e.1", 6, "never"))),
    ("one twice in an inbox", 1, lambda x: x.stored.append(Stored(ANN, "e.1", 6, "a2"))),
    ("a step without an end", 1, lambda x: x.ends.pop(0)),
    ("an ack of nobody's", 2, lambda x: x.ends.append(Ended("maybe", "ann", "webhook", acked=True))),
    ("an ack of another's", 2, lambda x: x.ends.append(Ended("a3", "ann", "webhook", acked=True))),
    ("an offset with two names", 3, lambda x: x.stored.append(Stored(ANN, "e.1", 2, "maybe"))),
    ("a gap", 4, lambda x: x.seen.insert(4, Got("ann/1", ANN, "e.0", 3, "acked"))),
    ("a repetition", 4, lambda x: x.seen.insert(5, Got("ann/1", ANN, "e.0", 2, "a2"))),
    ("another epoch without a word", 4, lambda x: x.seen.insert(5, Got("ann/1", ANN, "e.7", 3, "acked"))),
    ("a publication without a subscription", 4, lambda x: x.seen.append(Got("ben/1", ANN, "e.1", 1, "a1"))),
    ("recovery that passes something over", 4, lambda x: x.seen.append(Began("ann/old", ANN, "e.1", 3, True))),
    ("a beginning amid it all", 4, lambda x: x.seen.append(Began("ann/old", ANN, "e.0", 5))),
    ("a device behind the top", 5, lambda x: x.live.add("ann/old")),
    ("a device of another epoch", 5, lambda x: x.tops.insert(2, Top(ROOM, "f.2", 1))),
    ("a device that is late", 5, lambda x: x.seen.append(Began("ann/1", ROOM, "f.1", 1, True, at=31.0))),
    ("an ack that overtakes", 6, lambda x: x.queues.append(Queue("events 5", (5, 2), ((6, 0), (5, 1))))),
    ("an event that is overtaken", 6, lambda x: x.accepted.insert(1, x.accepted.pop(0))),
    ("a good event that is buried", 7, lambda x: x.buried.append(Buried("a1", ANN, reason="LOADING"))),
    ("one entry nobody finishes", 8, lambda x: x.left.append(Queue("events 5", (5, 2), ((6, 0),)))),
    ("what did not come to an end", 8, lambda x: x.notes.append("it was not quiet")),
    ("a script that takes long", 9, lambda x: x.held.append(Held("publish", 0.011))),
    ("a call after a withdrawal", 10, lambda x: x.calls.append(Called("k3", "gone", "ann", "webhook", 9.6))),
    ("content after a withdrawal", 10, lambda x: x.stored.__setitem__(3, Stored(ANN, "e.1", 4, "gone"))),
    ("a call too many", 11, lambda x: x.calls.append(Called("k1", "a2", "ann", "webhook", 9.0))),
    ("a fallback for who was drained", 12, lambda x: x.calls.append(Called("k4", "a2", "ann", "webhook", 6.9))),
    (
        "a replicated event that is lost with its master",
        13,
        lambda x: x.accepted.append(Accepted("new", (ANN,), 10.5, REPLICATED, 3)),
    ),
    ("a key that stays", 14, lambda x: setattr(x, "after", frozenset({"installation", "seen"}))),
]


@pytest.mark.parametrize(("invariant", "spoil"), [each[1:] for each in SPOILED], ids=[each[0] for each in SPOILED])
def test_a_violation_is_found_and_nothing_else(invariant: int, spoil: Spoil) -> None:
    ledger = good()
    spoil(ledger)
    assert {violation.invariant for violation in found(ledger)} == {invariant}
    assert str(found(ledger)[0]).startswith(f"invariant {invariant}: ")


def test_every_law_is_broken_by_some_ledger_here() -> None:
    assert sorted({invariant for _, invariant, _ in SPOILED}) == sorted(LAWS) == list(range(1, 15))


def test_an_interruption_allows_one_more_call() -> None:
    ledger = good()
    ledger.calls.append(Called("k1", "a2", "ann", "webhook", 9.0))
    ledger.faults.append(Fault("a worker is killed", 8.0, 9.0))
    assert found(ledger) == []


def test_a_pause_makes_a_call_late_that_was_under_way() -> None:
    ledger = good()
    ledger.calls.append(Called("k3", "gone", "ann", "webhook", 12.5))
    assert [violation.invariant for violation in found(ledger)] == [10]
    ledger.faults.append(Fault("a worker is paused", 8.0, 12.0))
    assert found(ledger) == []


def test_what_a_worker_had_in_hand_may_be_called_for_again_under_another_lease() -> None:
    ledger = good()
    ledger.calls.append(Called("k1", "a2", "ann", "webhook", 9.0))
    ledger.handed = {"ann": 0, "ben": 1}
    assert [violation.invariant for violation in found(ledger)] == [11]
    ledger.handed = {"ann": 1, "ben": 0}
    assert found(ledger) == []
    ledger.faults.append(Fault("a worker is killed", 8.0, 9.0))
    ledger.calls.append(Called("k1", "a2", "ann", "webhook", 9.5))
    assert [violation.invariant for violation in found(ledger)] == [11]


def test_a_withdrawal_may_be_lost_with_its_master() -> None:
    ledger = good()
    ledger.withdrawn = [Withdrawn("gone", 10.5)]
    ledger.calls.append(Called("k3", "gone", "ann", "webhook", 40.0))
    assert found(ledger) == []


def test_a_recipient_that_fails_alone_is_buried_alone() -> None:
    ledger = good()
    ledger.accepted.append(Accepted("half", (ANN, ROOM), 8.0, poison=True))
    ledger.buried.append(Buried("half", ROOM))
    assert [str(violation) for violation in found(ledger)] == ["invariant 1: half is lost for @ann"]


def test_a_delivery_that_is_buried_is_an_end_of_its_step() -> None:
    ledger = good()
    ledger.accepted[1] = replace(ledger.accepted[1], poison=True)
    ledger.ends.pop(0)
    ledger.buried.append(Buried("a2", ANN, "webhook", "410"))
    assert found(ledger) == []


def test_who_is_back_too_late_was_offline() -> None:
    ledger = good()
    ledger.drained = [Drained("ann", 1.5, 22.0)]
    ledger.calls.append(Called("k4", "a2", "ann", "webhook", 6.9))
    assert found(ledger) == []


def test_a_step_waits_from_when_its_event_was_sent_and_not_from_when_that_was_known() -> None:
    ledger = good()
    ledger.calls.append(Called("k4", "a2", "ann", "webhook", 6.9))
    assert {violation.invariant for violation in found(ledger)} == {12}
    place = next(n for n, accepted in enumerate(ledger.accepted) if accepted.event == "a2")
    at, wait = ledger.accepted[place].at, ledger.accepted[place].wait
    ledger.accepted[place] = replace(ledger.accepted[place], sent=6.9 - wait)
    assert at > 6.9 - wait > ledger.drained[0].at
    assert found(ledger) == []
