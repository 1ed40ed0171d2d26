"""loadtest.shapes: courses of a test."""

from __future__ import annotations

import pytest

from loadtest.shapes import SHAPES, Ramp, Reconnect, Stage, Steady


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_ends_and_never_exceeds_its_people(name: str) -> None:
    shape = SHAPES[name](100, 60)
    stages = [shape.at(second) for second in range(60)]
    assert all(stage is not None and 1 <= stage.people <= 100 and stage.rate >= 1 for stage in stages)
    assert shape.at(60) is None


def test_steady_is_steady() -> None:
    assert Steady(100, 60).at(0) == Steady(100, 60).at(59) == Stage(100, 100 / 12)


def test_a_ramp_climbs_and_then_half_go() -> None:
    shape = Ramp(100, 60)
    people = [stage.people for second in range(60) if (stage := shape.at(second))]
    assert people[0] == 10
    assert max(people) == people[40] == 100
    assert people[-1] == 50
    assert people[:45] == sorted(people[:45])


def test_storms_only_rise() -> None:
    shape = Reconnect(100, 60)
    storms = [stage.storms for second in range(60) if (stage := shape.at(second))]
    assert storms == sorted(storms)
    assert storms[0] == 0
    assert storms[-1] == 3
