"""Names and topics: any script, nothing hidden, no pattern signs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.naming import MAX_NAME, name_fault, topic_fault


@given(st.text())
def test_a_topic_is_a_name_with_a_colon_inside(text: str) -> None:
    if topic_fault(text) is None:
        assert name_fault(text, 255) is None
        namespace, _, rest = text.partition(":")
        assert namespace
        assert rest
        assert text[0] != "@"


@pytest.mark.parametrize("topic", ["a:b", "a:b:c", "ü:é", "a:@b", "news:sport/football"])
def test_topics(topic: str) -> None:
    assert topic_fault(topic) is None


@pytest.mark.parametrize(
    "topic", ["", "a", ":", ":a", "a:", "@a:b", "a:*", "a:{b}", "$a:b", "#a:b", "a:" + "x" * 254, 7]
)
def test_no_topics(topic: object) -> None:
    assert topic_fault(topic) is not None


def test_names_may_be_in_any_script_but_not_hide_anything() -> None:
    assert name_fault("Алиса 👩‍💻") is None
    for hidden in ("a\u0000", "a\n", "\ta", " a", "a\u2003", "\ud800"):
        assert name_fault(hidden) is not None


@pytest.mark.parametrize("name", ["", None, 7, "x" * (MAX_NAME + 1)])
def test_no_names(name: object) -> None:
    assert name_fault(name) is not None


def test_a_name_may_be_as_long_as_its_place_allows() -> None:
    assert name_fault("x" * MAX_NAME) is None
    assert name_fault("x" * 9, 8) == "must have at most 8 characters"
