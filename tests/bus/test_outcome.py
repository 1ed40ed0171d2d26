"""Outcomes are values: equal when they say the same, and closed."""

from __future__ import annotations

from typing import get_args

import pytest

from bus.outcome import (
    Cancelled,
    Deferred,
    Done,
    Expired,
    Gone,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    Scope,
    Skipped,
    Throttled,
    Unavailable,
)


def test_the_set_is_closed() -> None:
    from_senders = {Done, Retry, Throttled, Gone, Rejected, Misconfigured, Expired, Unavailable}
    assert set(get_args(Outcome)) == from_senders | {Cancelled, Skipped, Deferred}


def test_they_are_values() -> None:
    assert Done() == Done()
    assert Expired() != Done()
    assert Retry("x") == Retry("x", None)
    assert Retry("x") != Retry("x", 1.0)
    assert len({Gone("a"), Gone("a"), Rejected("a"), Misconfigured("a"), Unavailable("a")}) == 4
    with pytest.raises(AttributeError):
        Throttled(1.0, Scope.TARGET).after = 2.0  # type: ignore[misc]


def test_a_throttle_reaches_a_target_an_endpoint_or_a_channel() -> None:
    assert [scope.value for scope in Scope] == ["target", "endpoint", "channel"]
