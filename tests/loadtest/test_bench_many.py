"""The measures of many processes, each on real ones and in its smallest form: all readings are there and make sense."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadtest.bench import crew, scale, stalled, takeover
from loadtest.bench.drain import build
from loadtest.bench.measures import GROUNDED, MEASURES, QUICK, SELDOM, Scale
from loadtest.bench.report import figures
from loadtest.bench.servers import Ground

Measure = Callable[[list[str], Ground], dict[str, float]]

CREW = crew.Size(128, 60, (2,), (3,), (60,), (16,))
SMALLEST: dict[str, Measure] = {
    "scale": lambda client, ground: scale.scale(client, ground, scale.Size((1, 2), 60, 30, 3, 2)),
    "workers": lambda _, ground: crew.workers(ground, CREW),
    "masters": lambda _, ground: crew.masters(ground, CREW),
    "growth": lambda _, ground: crew.growth(ground, CREW),
    "takeover": lambda _, ground: takeover.takeover(ground, takeover.Size(2, 20)),
    "stalled": lambda client, ground: stalled.stalled(client, ground, stalled.Size(18, 2, 40, 4_000, 1.0)),
}


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with Ground(tmp_path / "ground") as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_measure_has_its_readings(name: str, ground: Ground, tmp_path: Path) -> None:
    readings = SMALLEST[name](build(tmp_path), ground)
    assert all(value > 0 for key, value in readings.items() if key != "stalled_memory_ratio")
    known = {figure.name for figure in figures(())}
    sized = ("people_60_", "partitions_16_")
    assert {key for key in readings if not key.startswith(sized)} <= known
    commands = {key: value for key, value in readings.items() if key.endswith("_commands")}
    assert all(10 < value < 60 for value in commands.values()), commands


def test_every_one_can_be_asked_for() -> None:
    assert set(SMALLEST) == set(GROUNDED) == set(SELDOM) - {"herd"}, "the herd has a test file of its own"
    assert set(GROUNDED) <= MEASURES.keys()


@pytest.mark.parametrize("size", [Scale(), QUICK])
def test_ratios_are_to_the_first(size: Scale) -> None:
    assert size.scale.processes[0] == size.crew.workers[0] == size.crew.masters[0] == 1
    assert list(size.crew.growing_people) == sorted(size.crew.growing_people)


def test_every_curve_has_its_figures() -> None:
    names = {figure.name for figure in figures(())}
    full = Scale().crew
    for name, counts in (
        ("workers", full.workers),
        ("masters", full.masters),
        ("people", full.growing_people),
        ("partitions", full.growing_partitions),
        ("nodes", full.growing_nodes),
    ):
        assert {
            f"{name}_{count}_{what}" for count in counts for what in ("us", "redis_us", "commands", "wall")
        } <= names
        assert {f"{name}_us_ratio", f"{name}_commands_ratio"} <= names
    for processes in Scale().scale.processes[1:]:
        assert {f"scale_delivery_{processes}_ratio", f"scale_connect_{processes}_ratio"} <= names
