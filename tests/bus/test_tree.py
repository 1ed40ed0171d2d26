"""Depth and numbers of decoded JSON, and where in it the first number is that cannot be written."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.tree import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER, depth_of, unfit_number

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4), max_leaves=20
)


def nested(levels: int) -> Any:
    value: Any = 1
    for i in range(levels):
        value = [value] if i % 2 else {"a": value}
    return value


@pytest.mark.parametrize("levels", [0, 1, 2, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1])
def test_depth_is_counted(levels: int) -> None:
    assert depth_of(nested(levels)) == levels


def test_depth_is_not_counted_further_than_needed() -> None:
    assert depth_of(nested(100_000)) == MAX_DEPTH + 1


@given(JSON)
def test_depth_is_one_more_than_that_of_the_deepest_below(value: Any) -> None:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    assert depth_of(value) == (0 if below is None else 1 + max(map(depth_of, below), default=0))


@pytest.mark.parametrize("number", [MAX_INTEGER, MIN_INTEGER, 0, 1e308, -1e-308, True, "text", None])
def test_what_json_carries(number: object) -> None:
    assert unfit_number({"a": [number, {"b": number}]}) is None


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, MIN_INTEGER - 1, 10**400, float("inf"), float("nan")])
def test_what_json_would_change_is_named_by_its_place(number: float) -> None:
    assert unfit_number(number) == ""
    assert unfit_number({"a": 1, "~/": [0, {"b": "x"}, number]}) == "/~0~1/2"


@given(JSON)
def test_what_has_no_unfit_number_can_be_written(value: Any) -> None:
    if unfit_number(value) is None:
        orjson.dumps(value)
