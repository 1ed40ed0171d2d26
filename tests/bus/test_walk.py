"""Walks: what is written is read, and an entry that is none is known as such."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.walk import Follow, Walk, Withdraw, fields, from_fields

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.builds(Follow, TEXT, TEXT) | st.builds(Withdraw, TEXT))
def test_what_is_written_is_read(walk: Walk) -> None:
    flat = [part.encode() for part in fields(walk)]
    assert from_fields(dict(zip(flat[::2], flat[1::2], strict=True))) == walk


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {b"k": b"follow"},
        {b"k": b"follow", b"e": b"1.s/a"},
        {b"k": b"stroll", b"e": b"1.s/a"},
        {b"k": b"withdraw", b"e": b"\xff"},
    ],
)
def test_what_is_no_walk(entry: dict[bytes, bytes]) -> None:
    assert from_fields(entry) is None
