"""Both forms of Retry-After, and everything that is neither."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.channels.retry_after import LONGEST, retry_after

NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("3601", LONGEST),
        ("9" * 400, LONGEST),
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", LONGEST),
    ],
)
def test_seconds_and_dates(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "1.5", "٣", "Sun, 99 Nov 1994 08:49:37 GMT", "1e3"])
def test_other_forms_say_nothing(value: str | None) -> None:
    assert retry_after(value, NOW) is None


@given(st.text(), st.floats(0, 4e9))
def test_it_is_none_or_within_bounds(value: str, now: float) -> None:
    found = retry_after(value, now)
    assert found is None or (math.isfinite(found) and 0 <= found <= LONGEST)
