"""loadtest.figures: statistics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.figures import median, medians, percentile

values = st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=50)


def test_median_of_odd_and_even_counts() -> None:
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 2, 3]) == 2.5


def test_medians_are_those_of_each_reading() -> None:
    assert medians([{"a": 1, "b": 9}, {"a": 3, "b": 7}, {"a": 2, "b": 8}]) == {"a": 2, "b": 8}
    with pytest.raises(ValueError, match="no turns"):
        medians([])


@pytest.mark.parametrize(("percent", "expected"), [(0, 1), (1, 1), (50, 50), (99, 99), (99.5, 100), (100, 100)])
def test_percentile_is_the_nearest_rank(percent: float, expected: int) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == expected


@given(values, st.floats(0, 100))
def test_a_percentile_was_measured_and_covers_its_share(sample: list[float], percent: float) -> None:
    found = percentile(sample, percent)
    assert found in sample
    # A hair of float error is allowed on the share.
    assert sum(value <= found for value in sample) >= percent / 100 * len(sample) - 1e-9


def test_nothing_has_no_statistics() -> None:
    with pytest.raises(ValueError, match="no values"):
        median([])
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@pytest.mark.parametrize("percent", [-1, 101])
def test_a_percentage_has_bounds(percent: float) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        percentile([1], percent)
