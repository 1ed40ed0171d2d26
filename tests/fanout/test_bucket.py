"""The token bucket: never more than the burst and the rate allow, and never less than the rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.deliver.bucket import Bucket


def test_a_burst_goes_at_once_and_then_one_after_the_other() -> None:
    bucket = Bucket(rate=10.0, burst=3)
    assert [bucket.take(100.0) for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.2])
    assert bucket.wait(100.0) == pytest.approx(0.3)
    assert bucket.wait(101.0) == 0
    assert [bucket.take(200.0) for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_who_is_put_off_comes_one_after_the_other_behind_those_who_wait() -> None:
    bucket = Bucket(rate=2.0, burst=1)
    assert [bucket.take(0.0) for _ in range(2)] == pytest.approx([0, 0.5])
    assert [bucket.put_off(0.0) for _ in range(3)] == pytest.approx([1.5, 2.0, 2.5])
    assert bucket.put_off(100.0) == pytest.approx(0.5)


@given(
    st.floats(0.1, 1000),
    st.floats(0, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=100),
)
def test_in_any_span_there_are_no_more_than_burst_and_rate_allow(
    rate: float, burst: float, pauses: list[float]
) -> None:
    bucket, now, times = Bucket(rate, burst), 1000.0, []
    for pause in pauses:
        now += pause
        times.append(now + bucket.take(now))
    times.sort()
    for i, first in enumerate(times):
        for count, last in enumerate(times[i:], start=1):
            assert count <= max(1.0, burst) + rate * (last - first) + 1e-6
