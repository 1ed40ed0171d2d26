"""What is broken when follows from the seed alone, and is fair to all kinds of faults."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.nemesis import LASTS, Kind, schedule

TARGETS = {
    Kind.KILL: ["gateway 0", "gateway 1", "fanout 0"],
    Kind.PAUSE: ["gateway 0", "fanout 0"],
    Kind.CUT: ["link"],
    Kind.MOVE: [],
    Kind.RESTART: ["redis"],
}


@given(st.integers(), st.floats(1, 100), st.integers(1, 40))
def test_a_schedule(seed: int, seconds: float, count: int) -> None:
    steps = schedule(seed, TARGETS, seconds, count)
    assert steps == schedule(seed, TARGETS, seconds, count)
    assert len(steps) == count
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    for number, step in enumerate(steps):
        assert step.target in TARGETS[step.kind]
        least, most = LASTS[step.kind]
        assert least <= step.lasts <= most
        for later in steps[number + 1 :]:
            assert later.target != step.target or later.at > step.at + step.lasts
    times = Counter(step.kind for step in steps)
    assert max(times.values()) - min(times[kind] for kind in TARGETS if TARGETS[kind]) <= 1


def test_other_seeds_break_other_things() -> None:
    assert len({tuple(schedule(seed, TARGETS, 10, 5)) for seed in range(20)}) == 20


def test_a_step_says_what_it_does() -> None:
    (step,) = schedule(1, {Kind.RESET: ["link"]}, 10, 1)
    assert str(step).endswith("s: reset link")
    (step,) = schedule(1, {Kind.CUT: ["link"]}, 10, 1)
    assert " cut link for " in str(step)
