"""Cursors: written and read back; anything else a client sends is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.cursor import MAX_OFFSET, Cursor


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
