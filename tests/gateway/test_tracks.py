"""What is known of an event: its state, its JSON, and how what Redis holds is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bus.event import Step
from bus.trail import Kind, Trace
from gateway.tracks import (
    Person,
    State,
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

AT = 1_700_000_000.0
ISO = "2023-11-14T22:13:20.000Z"


def whole(**known: Any) -> Whole:
    return Whole("a", "shop", **known)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ({"recipients": 1}, State.PUBLISHED),
        ({"topics": 1, "waits": True, "buried": ("x",), "lapsed": True, "at": AT}, State.PUBLISHED),
        ({"recipients": 1, "withdrawn": True}, State.WITHDRAWN),
        ({"at": AT, "buried": ("x",)}, State.SCHEDULED),
        ({"buried": ("x",), "waits": True, "lapsed": True}, State.BURIED),
        ({"lapsed": True}, State.EXPIRED),
        ({"waits": True}, State.ACCEPTED),
    ],
)
def test_of_what_is_true_at_once_the_state_says_what_matters_most(known: dict[str, Any], state: State) -> None:
    event = whole(**known)
    assert event.known
    assert event.state is state


def test_of_an_event_without_a_trace_nothing_is_known() -> None:
    assert not whole().known
    assert not whole(counts={"acked": 1}).known


def test_counts_are_shown_by_channel() -> None:
    counts = {"acked": 3, "push:sent": 2, "push:failed": 1, "email:queued": 1, "repeats": 9, "push:odd": 1}
    assert whole(recipients=4, counts=counts).shown() == {
        "id": "a",
        "source": "shop",
        "state": "published",
        "recipients": 4,
        "topics": 0,
        "written": 0,
        "acked": 3,
        "read": 0,
        "channels": {"push": {"sent": 2, "failed": 1}, "email": {"queued": 1}},
    }
    assert whole(at=AT).shown()["at"] == ISO
    assert whole(buried=("why",)).shown()["buried"] == ["why"]


def test_a_person_is_shown_with_their_trail() -> None:
    traces = (Trace(AT, "r", Kind.ACKED), Trace(AT, "r", Kind.RETRY, "push", "busy", 2))
    waiting = (Waiting("email", "read", AT), Waiting("sms", None, AT))
    person = Person("alice", given=True, offset=3, kept=True, acked=True, traces=traces, waiting=waiting)
    assert person.shown() == {
        "user": "alice",
        "in_audience": True,
        "offset": 3,
        "acked": True,
        "read": False,
        "archived": False,
        "trail": [
            {"at": ISO, "kind": "acked"},
            {"at": ISO, "kind": "retry", "channel": "push", "reason": "busy", "attempt": 2},
        ],
        "waiting": [{"channel": "email", "due": ISO, "unless": "read"}, {"channel": "sms", "due": ISO}],
    }


def test_counts_of_all_partitions_are_added() -> None:
    assert total([[b"acked", b"1"], [], [b"acked", b"2", b"push:sent", b"1"]]) == {"acked": 3, "push:sent": 1}


@pytest.mark.parametrize(
    ("stored", "ladder"),
    [
        (None, ()),
        (b"", ()),
        (b'[{"via":"live"},{"via":"push","after":30,"unless":"acked"}]', (Step("live"), Step("push", 30, "acked"))),
        (b"[1]", ()),
        (b'[{"after":1}]', ()),
        (b"7", ()),
        (b"{", ()),
    ],
)
def test_a_ladder_that_is_none_is_empty(stored: bytes | None, ladder: tuple[Step, ...]) -> None:
    assert ladder_of(stored) == ladder


@pytest.mark.parametrize(
    ("event", "same"),
    [
        ({"id": "a", "source": "shop"}, True),
        ({"id": "a", "source": "other"}, False),
        ({"id": "b", "source": "shop"}, False),
        ({"id": "a"}, False),
        ([], False),
    ],
)
def test_an_entry_holds_the_event_of_its_id_and_source(event: Any, same: bool) -> None:
    assert is_of(whole(), [b"p", b"shop", b"e", orjson.dumps(event)]) is same


def test_an_entry_that_names_no_source_came_by_hand() -> None:
    assert is_of(Whole("a", "xadd"), [b"e", b'{"id":"a"}'])
    assert not is_of(Whole("a", "xadd"), [b"x", b"y"])
    assert not is_of(Whole("a", "xadd"), [b"e", b"not json"])


def test_why_a_letter_was_buried() -> None:
    assert reason_of([b"reason", b"/type is required"]) == "/type is required"
    assert reason_of([]) == ""


def trail(*kinds: tuple[Kind, str]) -> tuple[Trace, ...]:
    return tuple(Trace(AT + n, "r", kind, channel) for n, (kind, channel) in enumerate(kinds))


def test_what_a_trail_says() -> None:
    assert taken_back(trail((Kind.READ, ""), (Kind.WITHDRAWN, "")))
    assert not taken_back(trail((Kind.READ, "")))
    assert was_read(trail((Kind.UNREAD, ""), (Kind.READ, ""), (Kind.ARCHIVED, "")))
    assert not was_read(trail((Kind.READ, ""), (Kind.UNREAD, "")))
    assert not was_read(())


def test_which_digests_hold_it() -> None:
    digested, deferred = (Kind.DIGESTED, "email"), (Kind.DEFERRED, "email")
    assert gathered(trail(digested)) == ["email"]
    assert gathered(trail(deferred)) == []
    assert gathered(trail(deferred, digested, deferred)) == ["email"]
    assert gathered(trail(digested, (Kind.QUEUED, "email"))) == []


def test_what_takes_it_out_of_a_digest_is_what_its_step_says() -> None:
    ladder = (Step("live"), Step("push"), Step("email", 600, "acked"))
    assert condition_in_digest(ladder, "email") == "acked"
    assert condition_in_digest(ladder, "push") == "read"
