"""Quotas: never more than the burst and the rate allow, whatever is asked when."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.api.quota import Quotas


def test_a_burst_then_the_rate() -> None:
    quotas = Quotas(least=10)
    assert quotas.take("a", 10.0, 10, 100.0).wait == 0
    refused = quotas.take("a", 10.0, 5, 100.0)
    assert (refused.wait, refused.remaining, refused.limit, refused.window) == (1, 0, 10, 1)
    assert refused.headers()["Retry-After"] == "1"
    assert quotas.take("a", 10.0, 5, 100.5).wait == 0
    assert quotas.take("b", 10.0, 10, 100.0).wait == 0


def test_a_full_batch_always_fits_in_time() -> None:
    quotas = Quotas(least=1_000)
    assert quotas.take("slow", 0.5, 1_000, 0.0).wait == 0
    verdict = quotas.take("slow", 0.5, 1_000, 0.0)
    assert verdict.wait == 2_000
    assert quotas.take("slow", 0.5, 1_000, 2_000.0).wait == 0


def test_taking_nothing_only_looks() -> None:
    quotas = Quotas(least=10)
    quotas.take("a", 10.0, 10, 0.0)
    assert quotas.take("a", 10.0, 0, 0.0).wait == 0
    assert quotas.take("a", 10.0, 0, 0.5).remaining == 5


@given(
    st.floats(0.1, 10_000.0),
    st.lists(st.tuples(st.integers(1, 1_000), st.floats(0.0, 100.0)), max_size=50),
)
def test_what_is_taken_never_exceeds_burst_and_rate(rate: float, asked: list[tuple[int, float]]) -> None:
    quotas, now, taken = Quotas(least=1_000), 0.0, 0
    for amount, pause in asked:
        now += pause
        verdict = quotas.take("a", rate, amount, now)
        taken += 0 if verdict.wait else amount
        assert 0 <= verdict.remaining <= verdict.limit
        assert taken <= max(rate, 1_000) + now * rate + 1e-3
        if verdict.wait:
            assert quotas.take("a", rate, amount, now + verdict.wait).wait == 0
            taken += amount
            now += verdict.wait
