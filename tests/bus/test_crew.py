"""Who counts as alive, and for how long after an outage."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.crew import Crew

GAP, GRACE = 1.5, 3.0


def test_who_leaves_the_list_is_gone_at_once() -> None:
    crew = Crew(GAP, GRACE)
    assert crew.told(("a", "b"), 10.0) == {"a", "b"}
    assert crew.told(("a",), 10.75) == {"a"}
    assert crew.members == {"a"}


def test_after_an_outage_of_ours_those_from_before_are_waited_for() -> None:
    crew = Crew(GAP, GRACE)
    crew.told(("a", "b", "c"), 10.0)
    assert crew.told(("a",), 14.0) == {"a", "b", "c"}
    assert crew.told(("a", "b", "d"), 15.4) == {"a", "b", "c", "d"}
    assert crew.told(("a", "b", "d"), 16.8) == {"a", "b", "c", "d"}
    assert crew.told(("a", "b", "d"), 17.0) == {"a", "b", "d"}


def test_a_second_outage_begins_the_wait_again() -> None:
    crew = Crew(GAP, GRACE)
    crew.told(("a", "b"), 0.0)
    crew.told(("a",), 4.0)
    assert crew.told(("a",), 8.0) == {"a", "b"}
    assert crew.told(("a",), 9.0) == {"a", "b"}
    assert crew.told(("a",), 10.0) == {"a", "b"}
    assert crew.told(("a",), 11.0) == {"a"}


def test_the_first_list_is_believed() -> None:
    assert Crew(GAP, GRACE).told((), 1e9) == set()


LISTS = st.lists(st.tuples(st.floats(0.0, 6.0), st.frozensets(st.sampled_from("abcd"))), max_size=30)


@given(LISTS)
def test_nobody_on_the_list_is_left_out_and_nobody_stays_for_ever(steps: list[tuple[float, frozenset[str]]]) -> None:
    crew, now, seen = Crew(GAP, GRACE), 0.0, set[str]()
    for wait, listed in steps:
        now += wait
        seen |= listed
        assert listed <= crew.told(listed, now) <= seen
    listed = steps[-1][1] if steps else frozenset[str]()
    for _ in range(6):
        now += GAP / 2
        crew.told(listed, now)
    assert crew.told(listed, now) == listed
