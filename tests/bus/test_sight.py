"""The sight of a stream: every job is found once, in the order of its source, and little is kept."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from bus.sight import KEPT, OTHERS, SOURCES, Look, Seen, Sight


def stream(sources: str) -> list[Seen]:
    return [(f"{number + 1}-0", source) for number, source in enumerate(sources)]


def look(sight: Sight, jobs: list[Seen], what: Look, step: int) -> None:
    """As look_jobs.lua does it."""
    after = int((what.after or "0-0").split("-")[0])
    found = [job for job in jobs if int(job[0].split("-")[0]) > after][:step]
    sight.saw(what, found, found[-1][0] if found else what.after or "0-0", len(found) < step)


def test_few_are_seen_behind_many() -> None:
    jobs, sight = stream("a" * 1_000 + "b" * 3), Sight()
    while not sight.ended:
        look(sight, jobs, sight.ahead(), 200)
    assert sight.wants == {"a": KEPT, "b": 3}
    assert sight.take("b", 2) == ["1001-0", "1002-0"]
    assert sight.take("b", 2) == ["1003-0"]
    assert sight.take("b", 2) == []
    assert not sight.empty


def test_of_one_that_has_more_it_is_looked_for_again() -> None:
    jobs, sight = stream("a" * (KEPT + 10)), Sight("0-0")
    look(sight, jobs, sight.ahead(), 500)
    assert sight.lacks("a") is None
    assert len(sight.take("a", 1_000)) == KEPT
    assert sight.wants == {"a": 1}
    again = sight.lacks("a")
    assert again == Look(f"{KEPT}-0", "a")
    look(sight, jobs, again, 500)
    assert sight.take("a", 1_000) == [f"{KEPT + n}-0" for n in range(1, 11)]
    assert sight.empty
    assert sight.wants == {}


def test_one_whose_next_lie_far_behind_is_looked_for_step_by_step() -> None:
    jobs, sight = stream("a" * KEPT + "a" + "b" * 30 + "a" * 2), Sight("0-0")
    look(sight, jobs, sight.ahead(), 500)
    sight.take("a", 1_000)
    steps = 0
    while (again := sight.lacks("a")) is not None:
        if steps == 0:
            look(sight, jobs, again, 1)
            assert sight.take("a", 5) == [f"{KEPT + 1}-0"]
        else:
            look(sight, jobs, again, 7)
        steps += 1
    assert steps > 3
    assert sight.take("a", 5) == [f"{KEPT + 32}-0", f"{KEPT + 33}-0"]


def test_a_source_too_many_counts_with_the_others() -> None:
    jobs = [(f"{number + 1}-0", f"s{number}") for number in range(SOURCES + 50)]
    sight = Sight()
    look(sight, jobs, sight.ahead(), 1_000)
    assert len(sight.wants) <= SOURCES + 1
    assert sight.wants[OTHERS] == 50


def test_of_more_sources_than_are_told_apart_none_is_passed_over() -> None:
    rest = range(SOURCES - 1, SOURCES + 20)
    jobs = stream("a" * (KEPT + 5)) + [(f"{100 + n}-0", f"s{n}") for n in range(SOURCES + 20)]
    jobs += [(f"{1_000 + n}-0", f"s{rest[n % len(rest)]}") for n in range(5 * KEPT)]
    sight, taken = Sight("0-0"), list[str]()
    look(sight, jobs, sight.ahead(), 10_000)
    while not sight.empty:
        source = max(sight.wants)  # by name, so that the others are the last
        while (again := sight.lacks(source)) is not None:
            look(sight, jobs, again, 10_000)
        taken += sight.take(source, 10)
    assert sorted(taken) == sorted(job for job, _ in jobs)


def test_who_was_one_too_many_is_told_apart_once_there_is_room() -> None:
    jobs = [(f"{number + 1}-0", f"s{number}") for number in range(SOURCES + 1)]
    sight = Sight("0-0")
    look(sight, jobs, sight.ahead(), 1_000)
    for source in tuple(sight.wants):
        sight.take(source, 1)
    look(sight, [*jobs, ("9000-0", "late")], sight.ahead(), 1_000)
    assert sight.wants == {"late": 1}


@given(st.text("abc", max_size=400), st.integers(1, 90), st.lists(st.sampled_from("abc"), max_size=60), st.data())
def test_all_are_found_once_and_in_order(names: str, step: int, order: list[str], data: st.DataObject) -> None:
    jobs = stream(names)
    sight, taken = Sight(), defaultdict[str, list[str]](list)
    there = data.draw(st.integers(0, len(jobs)))
    for source in [*order, *"abc" * 300]:
        there = min(len(jobs), there + 7)
        look(sight, jobs[:there], sight.ahead(), step)
        while (lacking := sight.lacks(source)) is not None:
            look(sight, jobs[:there], lacking, step)
        taken[source] += sight.take(source, 5)
        assert all(count <= KEPT for count in sight.wants.values())
        if there == len(jobs) and sight.empty:
            break
    for source in "abc":
        assert taken[source] == [job for job, whose in jobs if whose == source]
