"""Tables of the settings: what is wrong is named, and never quoted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bus.settings import BadSetting
from fanout.channels.table import Table

SECRET = "s3cret"
KNOWN = ("a", "b")


def table(**values: Any) -> Table:
    return Table("deliver.x.main", values, KNOWN)


def test_values_and_their_defaults() -> None:
    full = Table("t", {"s": "x", "l": ["x", "y"], "n": 1, "f": 0.5, "w": 3, "b": True}, ("s", "l", "n", "f", "w", "b"))
    assert full.text("s") == full.text("s", "y") == "x"
    assert full.texts("l", ()) == ("x", "y")
    assert full.number("n", 9, 0, 10) == 1.0
    assert full.number("f", 9, 0, 10) == 0.5
    assert full.whole("w", 9, 0, 10) == 3
    assert full.flag("b", False) is True
    empty = table()
    assert empty.text("a", "") == ""
    assert empty.texts("a", ("z",)) == ("z",)
    assert empty.number("a", 9, 0, 10) == 9.0
    assert empty.whole("a", 9, 0, 10) == 9
    assert empty.flag("a", True) is True


WRONG: list[tuple[Any, Callable[[Table], object], str]] = [
    (None, lambda t: t.text("a"), "is required"),
    ("", lambda t: t.text("a"), "must not be empty"),
    (7, lambda t: t.text("a"), "must be a string"),
    (7, lambda t: t.text("a", ""), "must be a string"),
    (SECRET, lambda t: t.texts("a", ()), "must be a list of strings"),
    ([SECRET, 7], lambda t: t.texts("a", ()), "must be a list of strings"),
    ([""], lambda t: t.texts("a", ()), "must be a list of strings"),
    (SECRET, lambda t: t.number("a", 1, 0, 9.5), "must be a number from 0 to 9.5"),
    (True, lambda t: t.number("a", 1, 0, 9), "must be a number"),
    (math.nan, lambda t: t.number("a", 1, 0, 9), "must be a number"),
    (9.1, lambda t: t.number("a", 1, 0, 9), "must be a number"),
    (SECRET, lambda t: t.whole("a", 1, 0, 9), "must be a whole number from 0 to 9"),
    (1.0, lambda t: t.whole("a", 1, 0, 9), "must be a whole number"),
    (True, lambda t: t.whole("a", 1, 0, 9), "must be a whole number"),
    (-1, lambda t: t.whole("a", 1, 0, 9), "must be a whole number"),
    (SECRET, lambda t: t.flag("a", False), "must be true or false"),
    (1, lambda t: t.flag("a", False), "must be true or false"),
]


@pytest.mark.parametrize(("value", "read", "text"), WRONG)
def test_what_is_wrong_is_named_and_not_quoted(value: Any, read: Callable[[Table], object], text: str) -> None:
    with pytest.raises(BadSetting) as raised:
        read(table(a=value))
    assert str(raised.value).startswith(f"deliver.x.main.a {text}")
    assert SECRET not in str(raised.value)


def test_an_unknown_key_is_named_with_those_that_are_known() -> None:
    with pytest.raises(BadSetting, match=r"^deliver\.x\.main has no c; it has: a, b$"):
        table(a=1, d=2, c=3)
