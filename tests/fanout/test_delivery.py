"""What a sender is given keeps its secrets, and says what it replaces and how long it lives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from fanout.channels.delivery import Delivery, EmailAddress, Hook, HookTarget, Mail, PhoneNumber, PushTarget, Sms

EVENT = Event(id="e1", source="shop", type="note", created_at=0.0)
SECRET = "the-secret-of-somebody"


def delivery(event: Event = EVENT, expires_at: float | None = None) -> Delivery:
    return Delivery("0" * 32, "email", "alice", EmailAddress(SECRET), Mail(SECRET, SECRET), event, expires_at)


@pytest.mark.parametrize(
    "thing",
    [
        EmailAddress(SECRET, SECRET),
        PhoneNumber(SECRET),
        PushTarget("d1", "webpush", SECRET, {"auth": SECRET}),
        HookTarget(SECRET, SECRET),
        delivery(),
    ],
)
def test_nothing_private_is_in_a_repr(thing: object) -> None:
    assert SECRET not in repr(thing)


def test_what_it_replaces() -> None:
    assert delivery().collapse == EVENT.ref
    assert delivery(Event(id="e", source="s", type="t", created_at=0.0, collapse_key="score")).collapse == "score"


@given(st.none() | st.floats(0, 1e10), st.floats(0, 1e10), st.integers(0, 10**7))
def test_a_lifetime_is_never_negative_nor_longer_than_allowed(expires: float | None, now: float, most: int) -> None:
    left = delivery(expires_at=expires).lifetime(now, most)
    assert 0 <= left <= most
    if expires is None or expires - now >= most:
        assert left == most
    elif expires > now:
        assert left == int(expires - now)


def test_messages_are_values() -> None:
    assert Sms("a") == Sms("a")
    assert Hook(b"{}").content_type == "application/json"
