"""Where a person is named in what is about others too, whatever characters the name has."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.keys import escape
from bus.people.mentions import alone_in, event_without, mentions, timer_without

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=6)


def event(*users: str, topics: tuple[str, ...] = ()) -> bytes:
    to = {name: list(values) for name, values in (("users", users), ("topics", topics)) if values}
    return orjson.dumps({"type": "t", "to": to, "title": "hello"})


@given(NAMES, NAMES)
def test_an_entry_names_somebody_or_not(name: str, other: str) -> None:
    same = name == other
    for fields in (
        {b"u": other.encode(), b"id": b"f" * 32},
        {b"queue": b"events", b"e": event(other, "x" * 9)},
        {b"t": f"step\n1.s%2F7\n{escape(other)}\n1".encode()},
        {b"t": f"digest\n{escape(other)}\nemail\nnews".encode()},
        {b"t": b"event\n1-0\nshop\n" + event(other)},
    ):
        assert mentions(fields, name) == same
    assert alone_in({b"e": event(other)}, name) == same
    assert not alone_in({b"e": event(name, topics=("a:b",))}, name)
    assert not alone_in({b"e": event(name, other)}, name)  # also where both are one: twice is not alone


@pytest.mark.parametrize(
    "data", [b"", b"alice", b"[]", b"7", b'{"to":7}', b'{"to":{"users":"alice"}}', b'{"title":"alice"}']
)
def test_what_is_no_event_names_nobody(data: bytes) -> None:
    assert not mentions({b"e": data}, "alice")
    assert not alone_in({b"e": data}, "alice")
    assert timer_without(b"event\n1-0\nshop\n" + data, "alice") is None


def test_an_event_without_somebody_is_for_the_others() -> None:
    assert event_without(event("a", "b", topics=("n:x",)), "a") == event("b", topics=("n:x",))
    assert event_without(event("a", topics=("n:x",)), "a") == event(topics=("n:x",))
    assert event_without(event("a"), "a") is None
    head = b"event\n1-0\nshop\n"
    assert timer_without(head + event("a", "b"), "a") == head + event("b")
    assert timer_without(head + event("a"), "a") == b""
    assert timer_without(head + event("b"), "a") is None
