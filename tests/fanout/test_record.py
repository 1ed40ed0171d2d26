"""What the trail and the counts are told: each outcome once, a long wait once, never the same thing twice."""

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
from bus.policy import Ack, Bury, Defer, Pause, Settlement
from bus.trail import Kind
from fanout.deliver.record import _KINDS, Record, record

DEFER = Defer(1.0, counted=False)


@pytest.mark.parametrize(
    ("outcome", "settlement", "told", "state"),
    [
        (Done(), Ack(), Record(Kind.SENT, "main"), "sent"),
        (Gone("410"), Ack(), Record(Kind.GONE, "410"), "gone"),
        (Expired(), Ack(), Record(Kind.EXPIRED), "expired"),
        (Cancelled("read"), Ack(), Record(Kind.CANCELLED, "read"), "cancelled"),
        (Skipped("no target"), Ack(), Record(Kind.SKIPPED, "no target"), "skipped"),
        (Deferred(9.0, "quiet hours until 9"), DEFER, Record(Kind.DEFERRED, "quiet hours until 9"), "deferred"),
        (Rejected("too large"), Bury("too large"), Record(Kind.FAILED, "too large"), "failed"),
        (Retry("timeout"), Defer(1.0, counted=True), Record(Kind.RETRY, "timeout", counted=False), ""),
        (Retry("timeout"), Bury("timeout"), Record(Kind.FAILED, "timeout"), "failed"),
        (Retry("timeout"), Ack("timeout"), Record(Kind.EXPIRED, "its time is over; last: timeout"), "expired"),
        (Throttled(1.0, Scope.TARGET), DEFER, Record(Kind.RETRY, "throttled", counted=False), ""),
        (Unavailable("no connection"), DEFER, Record(Kind.RETRY, "no connection", counted=False), ""),
        (Misconfigured("401"), Pause(60.0, "401"), Record(Kind.RETRY, "401", counted=False), ""),
    ],
)
def test_what_is_told(outcome: Outcome, settlement: Settlement, told: Record, state: str) -> None:
    assert record(outcome, settlement, "main", "") == told
    assert told.state == state


def test_a_wait_for_the_same_reason_is_told_once() -> None:
    away = Throttled(10.0, Scope.ENDPOINT, "the provider is away")
    assert record(away, DEFER, "main", "the provider is away") == Record(None, "the provider is away")
    assert record(away, DEFER, "main", "timeout").kind is Kind.RETRY
    assert Record(None, "x").state == ""


def test_attempts_that_count_are_all_told() -> None:
    assert record(Retry("timeout"), Defer(1.0, counted=True), "main", "timeout").kind is Kind.RETRY


def test_every_outcome_has_its_word() -> None:
    assert _KINDS.keys() == set(get_args(Outcome))
