"""Unsubscribe links: only ours are read, and they say what was put into them."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.people.unsubscribe import MAX_TOKEN, Unwanted, make, read

SECRET = b"s" * 32
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30)


@given(NAMES, NAMES | st.just(""), st.sampled_from(["email", "sms"]))
def test_a_link_says_what_was_put_into_it(user: str, category: str, channel: str) -> None:
    token = make(SECRET, user, category, channel)
    assert set(token) <= set(string.ascii_letters + string.digits + "-_")
    assert read(SECRET, token) == Unwanted(user, category, channel)
    assert read(b"o" * 32, token) is None


def test_the_longest_names_fit() -> None:
    token = make(SECRET, "ü" * 128, "ä" * 128, "webhook")
    assert len(token) < MAX_TOKEN
    assert read(SECRET, token) is not None


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_changed_link_is_none(place: int, change: int) -> None:
    data = bytearray(base64.urlsafe_b64decode(make(SECRET, "alice", "news", "email") + "=="))
    data[place % len(data)] ^= change
    assert read(SECRET, base64.urlsafe_b64encode(data).rstrip(b"=").decode()) is None


@pytest.mark.parametrize("token", ["", "A", "AQ", "ä", "!!!!", "AAAA" * 600, make(SECRET, "a", "b", "c")[:-2]])
def test_what_is_no_link(token: str) -> None:
    assert read(SECRET, token) is None
