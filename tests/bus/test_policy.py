"""Retry policy: one decision for every outcome, and no entry is tried for ever or given up for another's fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from bus.policy import FANOUT, SENDERS, Ack, Bury, Defer, Pause, RetryPolicy

POLICY = RetryPolicy(delays=(1.0, 10.0), jitter=0.2, pause=60.0, outage=0.5)
CHANCES = st.floats(0.0, 1.0)
ATTEMPTS = st.integers(1, 100)


@pytest.mark.parametrize(
    ("outcome", "settlement"),
    [
        (Done(), Ack()),
        (Gone("unsubscribed"), Ack()),
        (Expired(), Ack()),
        (Cancelled("read"), Ack()),
        (Skipped("no target"), Ack()),
        (Deferred(3600.0, "quiet hours"), Defer(3600.0, counted=False)),
        (Rejected("no such template"), Bury("no such template")),
        (Throttled(7.0, Scope.CHANNEL), Defer(7.0, counted=False)),
        (Misconfigured("no key"), Pause(60.0, "no key")),
        (Unavailable("no Redis"), Defer(0.5, counted=False)),
        (Retry("timeout"), Defer(1.0, counted=True)),
        (Retry("timeout", after=0.5), Defer(1.0, counted=True)),
        (Retry("timeout", after=5.0), Defer(5.0, counted=True)),
    ],
)
def test_first_attempts(outcome: Outcome, settlement: object) -> None:
    assert POLICY.settle(outcome, 1, 0.5) == settlement


def test_after_the_last_wait_it_is_buried() -> None:
    assert POLICY.settle(Retry("x"), 2, 0.5) == Defer(10.0, counted=True)
    assert POLICY.settle(Retry("x"), 3, 0.5) == Bury("x")
    assert POLICY.settle(Retry("x", after=1.0), 3, 0.5) == Bury("x")


@given(ATTEMPTS, CHANCES)
def test_what_is_nobodys_fault_never_counts_and_never_buries(attempt: int, chance: float) -> None:
    for outcome in (Unavailable("x"), Throttled(3.0, Scope.TARGET)):
        settled = POLICY.settle(outcome, attempt, chance)
        assert isinstance(settled, Defer)
        assert not settled.counted
        assert settled.delay > 0


@given(st.integers(1, 2), CHANCES, st.none() | st.floats(0, 100))
def test_waits_vary_by_a_fifth_and_never_undercut_what_was_asked(
    attempt: int, chance: float, after: float | None
) -> None:
    settled = POLICY.settle(Retry("x", after), attempt, chance)
    base = POLICY.delays[attempt - 1]
    assert isinstance(settled, Defer)
    assert settled.delay >= max(0.8 * base, after or 0.0) - 1e-9
    assert settled.delay <= max(1.2 * base, after or 0.0) + 1e-9


def test_the_worker_gives_an_entry_about_two_seconds() -> None:
    assert sum(FANOUT.delays) == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("outcome", "lapsed"),
    [
        (Retry("timeout"), "timeout"),
        (Throttled(1.0, Scope.ENDPOINT), "throttled"),
        (Deferred(2.0, "quiet hours"), "quiet hours"),
    ],
)
def test_what_could_only_be_tried_too_late_is_given_up_now(outcome: Outcome, lapsed: str) -> None:
    assert isinstance(POLICY.settle(outcome, 1, 0.5, left=2.1), Defer)
    assert POLICY.settle(outcome, 1, 0.5, left=1.0) == Ack(lapsed)


@given(st.sampled_from(sorted(SENDERS)), CHANCES, st.floats(0.0, 1e7))
def test_a_job_is_settled_within_its_attempts_and_its_time(channel: str, chance: float, left: float) -> None:
    policy, waited = SENDERS[channel], 0.0
    for attempt in range(1, len(policy.delays) + 2):
        settled = policy.settle(Retry("x"), attempt, chance, left - waited)
        if not isinstance(settled, Defer):
            assert settled in (Bury("x"), Ack("x"))
            return
        waited += settled.delay
        assert waited < left
    pytest.fail("tried for ever")


def test_each_channel_gives_up_when_its_providers_documents_say() -> None:
    assert {channel: len(policy.delays) + 1 for channel, policy in SENDERS.items()} == {
        "push": 7,
        "email": 8,
        "sms": 4,
        "webhook": 10,
    }
    assert sum(SENDERS["webhook"].delays) == pytest.approx(75 * 3600 + 35 * 60 + 5)


def test_an_outcome_that_nobody_knows_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        POLICY.settle("done", 1, 0.5)  # type: ignore[arg-type]
