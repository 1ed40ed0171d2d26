"""Callback tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.callback import MAX_TOKEN, Told, make, provider_of, read, secret_of

SECRET = secret_of("the provider's secret")
TOLD = Told("main", "sms", "alice", "4.shop/e1")


def test_a_token_says_what_was_put_into_it() -> None:
    token = make(SECRET, TOLD)
    assert read(SECRET, token) == TOLD
    assert provider_of(token) == "main"
    assert token.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("token", ["", "x", "é", "AA", "!!!!", "A" * (MAX_TOKEN + 1), make(SECRET, TOLD)[:30]])
def test_what_is_no_token(token: str) -> None:
    assert read(SECRET, token) is None


def test_no_other_secret_and_no_other_version_will_do() -> None:
    token = make(SECRET, TOLD)
    assert read(secret_of("another"), token) is None
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[0] = 2
    other = base64.urlsafe_b64encode(raw).decode()
    assert read(SECRET, other) is None
    assert provider_of(other) is None


names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(names, names, names, st.integers(0, 200), st.integers(0, 255))
def test_every_byte_counts(provider: str, user: str, ref: str, place: int, value: int) -> None:
    told = Told(provider, "sms", user, ref)
    token = make(SECRET, told)
    assert read(SECRET, token) == told
    assert provider_of(token) == provider
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    if raw[place % len(raw)] != value:
        raw[place % len(raw)] = value
        assert read(SECRET, base64.urlsafe_b64encode(raw).decode().rstrip("=")) is None
