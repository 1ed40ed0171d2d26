"""Cursors: written and read back, and carried over a failover; anything else a client sends is none."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.cursor import MAX_OFFSET, NONE_BEFORE, Cursor, carried, read_survived


@given(st.text(min_size=1), st.integers(0, MAX_OFFSET))
def test_a_cursor_comes_back(epoch: str, offset: int) -> None:
    cursor = Cursor(epoch, offset)
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text())
def test_any_text_gives_a_cursor_or_none(text: str) -> None:
    cursor = Cursor.parse(text)
    if cursor is not None:
        assert cursor.epoch
        assert 0 <= cursor.offset <= MAX_OFFSET


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "e",
        "e:",
        ":1",
        "e:-1",
        "e:+1",
        "e: 1",
        "e:1.0",
        "e:1e3",
        "e:٣",
        "e:²",
        "e:x",
        f"e:{MAX_OFFSET + 1}",
        "e:" + "1" * 400,
    ],
)
def test_what_is_no_cursor(text: str) -> None:
    assert Cursor.parse(text) is None


def test_cursors_have_no_order() -> None:
    with pytest.raises(TypeError):
        Cursor("a", 1) < Cursor("a", 2)  # type: ignore[operator]  # noqa: B015


# After a failover ----------------------------------------------------------------------------------------------------


def test_what_survived_is_read_as_it_is_noted() -> None:
    assert read_survived(b"") == NONE_BEFORE
    assert read_survived(b"e-2gab 7 e 5") == {"e-2gab": 7, "e": 5}


def test_a_cursor_counts_up_to_the_top_that_survived() -> None:
    survived = {"e-2gab": 7, "e": 5}
    assert carried(Cursor("e-3gcd", 9), "e-3gcd", survived) == Cursor("e-3gcd", 9)
    assert carried(Cursor("e-2gab", 7), "e-3gcd", survived) == Cursor("e-3gcd", 7)
    assert carried(Cursor("e", 5), "e-3gcd", survived) == Cursor("e-3gcd", 5)
    assert carried(Cursor("e", 6), "e-3gcd", survived) is None
    assert carried(Cursor("other", 0), "e-3gcd", survived) is None


Write = tuple[str, int]
"""An epoch that begins ("epoch", its number), or an event ("event", its number): no number comes twice."""


class Log:
    """A log as the writes that its server remembers: a failover forgets the newest and begins an epoch."""

    def __init__(self) -> None:
        self.writes: list[Write] = [("epoch", 0)]
        self._numbers = count(1)

    def append(self) -> None:
        self.writes.append(("event", next(self._numbers)))

    def fail_over(self, lost: int) -> None:
        """Also what was noted of earlier failovers may be lost."""
        del self.writes[max(1, len(self.writes) - lost) :]
        self.writes.append(("epoch", next(self._numbers)))

    @property
    def events(self) -> list[int]:
        return [number for kind, number in self.writes if kind == "event"]

    def look(self) -> tuple[str, dict[str, int]]:
        """The epoch, and what survived of those before: as parts/position.lua notes it, write by write."""
        epoch, top, survived = "", 0, dict[str, int]()
        for kind, number in self.writes:
            if kind == "event":
                top += 1
            else:
                if epoch:
                    survived = {epoch: top} | {e: min(t, top) for e, t in survived.items()}
                epoch = str(number)
        return epoch, dict(list(survived.items())[:8])


@settings(max_examples=300)
@given(st.lists(st.one_of(st.just(-1), st.integers(0, 12)), max_size=40), st.data())
def test_a_cursor_that_counts_means_what_it_meant(steps: list[int], data: st.DataObject) -> None:
    """-1 appends, any other number forgets so many of the newest writes. Cursors are taken all the while."""
    log, taken = Log(), [(Cursor("0", 0), list[int]())]
    for step in steps:
        if step < 0:
            log.append()
        else:
            log.fail_over(step)
        offset = data.draw(st.integers(0, len(log.events)))
        taken.append((Cursor(log.look()[0], offset), log.events[:offset]))
    epoch, survived = log.look()
    for cursor, read in taken:
        now = carried(cursor, epoch, survived)
        if now is not None:
            assert now == Cursor(epoch, cursor.offset)
            assert log.events[: cursor.offset] == read, "the same events stand there"
        elif cursor.epoch in survived:
            assert log.events[: cursor.offset] != read or cursor.offset > survived[cursor.epoch]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 6))
def test_whoever_saw_only_what_survived_is_carried_on(kept: int, lost: int, failovers: int) -> None:
    log = Log()
    for _ in range(kept + lost):
        log.append()
    log.fail_over(lost)
    for _ in range(failovers):
        log.append()
        log.fail_over(0)
    epoch, survived = log.look()
    for offset in range(kept + lost + 1):
        assert (carried(Cursor("0", offset), epoch, survived) is not None) == (offset <= kept)
