"""Parameters about the inbox, right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from bus.cursor import MAX_OFFSET
from gateway.marks import (
    MOST,
    MOST_ACKED,
    PAGE,
    Acknowledged,
    Marked,
    Page,
    Upto,
    read_ack,
    read_marks,
    read_page,
    read_upto,
)
from gateway.procedures import Fault

NO_OFFSETS: list[Any] = [0, -1, 1.5, True, "1", None, MAX_OFFSET + 1]


def place(fault: object) -> str:
    assert isinstance(fault, Fault)
    return fault.faults[0].pointer


def test_a_page() -> None:
    assert read_page({}) == Page("+", 30, "current")
    assert read_page({"before": 7, "limit": 1, "state": "unread"}) == Page("7", 1, "unread")
    for bad in NO_OFFSETS[:-2]:
        assert place(read_page({"before": bad})) == "/before"
    for limit in (0, PAGE + 1, True, "5", None):
        assert place(read_page({"limit": limit})) == "/limit"
    for state in ("read", 7, None, [], {}):
        assert place(read_page({"state": state})) == "/state"


def test_marks() -> None:
    assert read_marks({"offsets": [3, 1, 3]}) == Marked(offsets=(3, 1))
    assert read_marks({"ids": ["a", "b", "a"]}) == Marked(ids=("a", "b"))
    assert read_marks({"upto": 5}, upto=True) == Upto(5)
    assert read_marks({"offsets": []}) == Marked()
    for offset in NO_OFFSETS:
        assert place(read_marks({"offsets": [1, offset]})) == "/offsets"
        assert place(read_upto({"upto": offset})) == "/upto"
    for id in ("", 7, None, "a\n", "x" * 1_000):
        assert place(read_marks({"ids": [id]})) == "/ids"
    assert place(read_marks({"ids": "a"})) == "/ids"
    assert place(read_marks({"offsets": list(range(1, MOST + 2))})) == "/offsets"


@pytest.mark.parametrize("params", [{}, {"upto": 5}, {"ids": ["a"], "offsets": [1]}])
def test_one_kind_of_marks_at_a_time(params: dict[str, Any]) -> None:
    assert place(read_marks(params)) == ""


def test_acknowledgements() -> None:
    assert read_ack({"to": 9, "epoch": "e"}, alone=False) == Acknowledged(1, 9, "e")
    assert read_ack({"to": 9, "epoch": "e"}, alone=True) == Acknowledged(9, 9, "e")
    assert read_ack({"to": 9, "from": 4, "epoch": "e"}, alone=True) == Acknowledged(4, 9, "e")
    assert read_ack({"ids": ["a"]}, alone=True) == Acknowledged(marks=Marked(ids=("a",)))
    assert read_ack({"offsets": [4]}, alone=False) == Acknowledged(marks=Marked(offsets=(4,)))
    assert place(read_ack({}, alone=True)) == ""
    for offset in NO_OFFSETS:
        assert place(read_ack({"to": offset, "epoch": "e"}, alone=True)) == "/to"
    for first in (0, 10, "1"):
        assert place(read_ack({"to": 9, "from": first, "epoch": "e"}, alone=True)) == "/from"
    most = MOST_ACKED
    assert place(read_ack({"to": most + 9, "from": 9, "epoch": "e"}, alone=True)) == "/from"
    assert read_ack({"to": most + 9, "from": 10, "epoch": "e"}, alone=True) == Acknowledged(10, most + 9, "e")
    assert read_ack({"to": most + 9, "epoch": "e"}, alone=False) == Acknowledged(1, most + 9, "e")
    for epoch in (None, "", 7, "x" * 1_000):
        assert place(read_ack({"to": 9, "epoch": epoch}, alone=True)) == "/epoch"
