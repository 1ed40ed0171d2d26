"""Which dead letters are meant: each filter by itself and all together, and what is no filter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.keys import Keys
from bus.letters import CHANNELS, MAX_NAMES, MAX_TEXT, QUEUES, DeadLetter, Selection, letter, parse_name, select

FIELDS = {b"queue": b"jobs:email", b"entry": b"5-0", b"reason": b"Timeout (451)", b"attempts": b"8"}
JOB = {b"id": b"ab", b"e": b"4.shop/e1", b"u": b"alice", b"o": b"7"}
KEYS = Keys("t", 8)


def a_letter(**changes: Any) -> DeadLetter:
    given = {"partition": 3, "id": "2000-1", "queue": "jobs:email", "entry": "5-0", "reason": "Timeout (451)"}
    return DeadLetter(**(given | {"attempts": 8, "fields": dict(JOB)} | changes))


def test_a_letter_as_it_stands_in_its_stream() -> None:
    found = letter(3, b"2000-1", FIELDS | JOB)
    assert found == a_letter()
    assert (found.name, found.buried_at, found.age, found.channel) == ("3/2000-1", 2.0, (2000, 1), "email")
    assert found.about == {"delivery": "ab", "event": "4.shop/e1", "user": "alice"}
    odd = letter(0, b"1-0", {b"reason": b"\xff", b"attempts": b"many"})
    assert (odd.reason, odd.attempts, odd.queue, odd.about) == ("\ufffd", 0, "", {})


def test_only_of_jobs_it_is_said_what_they_are_about() -> None:
    assert a_letter(queue="events", fields={b"e": b"private"}).about == {}
    assert a_letter(fields={b"x": b"y"}).about == {}
    assert "private" not in repr(a_letter(fields={b"e": b"private"}))


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(), True),
        (Selection(queue="jobs:email"), True),
        (Selection(queue="events"), False),
        (Selection(reason="TIMEOUT"), True),
        (Selection(reason="refused"), False),
        (Selection(since=2.0), True),
        (Selection(since=2.001), False),
        (Selection(until=2.0), True),
        (Selection(until=1.999), False),
        (Selection(names=("3/2000-1",)), True),
        (Selection(names=("3/2000-0",)), False),
        (Selection("jobs:email", "451", 1.0, 3.0, ("1/1-0", "3/2000-1")), True),
    ],
)
def test_what_is_meant(selection: Selection, meant: bool) -> None:
    assert selection.has(a_letter()) is meant
    assert selection.everything is (selection == Selection())


@given(st.floats(0, 1e10), st.none() | st.floats(0, 1e10), st.none() | st.floats(0, 1e10))
def test_the_span_leaves_out_nothing_that_is_meant(at: float, since: float | None, until: float | None) -> None:
    selection = Selection(since=since, until=until)
    found = a_letter(id=f"{int(at * 1000)}-0")
    newest, oldest = selection.span
    within = (newest == "+" or int(at * 1000) <= int(newest)) and (oldest == "-" or int(at * 1000) >= int(oldest))
    assert within or not selection.has(found)


def test_a_selection_as_it_is_sent() -> None:
    raw = {"channel": "email", "reason": "451", "since": "1970-01-01T00:00:01Z", "names": ["3/2000-1"]}
    assert select(raw) == Selection("jobs:email", "451", 1.0, None, ("3/2000-1",))
    assert select({"queue": "bulk", "until": "1970-01-01T00:00:02+00:00"}) == Selection("bulk", until=2.0)
    assert select({}) == Selection()
    assert all(select({"channel": channel}) == Selection(f"jobs:{channel}") for channel in CHANNELS)
    assert all(select({"queue": queue}) == Selection(queue) for queue in QUEUES)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ({"chanel": "email"}, ""),
        ({"channel": "live"}, "/channel"),
        ({"channel": "email", "queue": "events"}, "/channel"),
        ({"queue": "jobs:email"}, "/queue"),
        ({"queue": ["events"]}, "/queue"),
        ({"reason": ""}, "/reason"),
        ({"reason": 7}, "/reason"),
        ({"reason": "x" * (MAX_TEXT + 1)}, "/reason"),
        ({"since": "yesterday"}, "/since"),
        ({"until": 7}, "/until"),
        ({"names": []}, "/names"),
        ({"names": "3/1-0"}, "/names"),
        ({"names": [7]}, "/names"),
        ({"names": ["x" * 65]}, "/names"),
        ({"names": ["1/1-0"] * (MAX_NAMES + 1)}, "/names"),
    ],
)
def test_what_is_no_selection(raw: dict[str, Any], pointer: str) -> None:
    faults = select(raw)
    assert not isinstance(faults, Selection)
    assert [fault.pointer for fault in faults] == [pointer]


def test_names_are_read_back() -> None:
    assert parse_name("3/12-4", KEYS) == (3, "12-4")
    assert parse_name("3/12", KEYS) == (3, "12-0")
    assert parse_name("8/12-0", KEYS) is None
    assert parse_name("3/x", KEYS) is None
    assert parse_name("3", KEYS) is None
