"""A few seeds of the simulator, and that it can fail: every broken core is found by one of the first seeds.

More: `python -m tests.simulation --seeds 1000`; what a failing seed did: `--seed N --trace`.
"""

from __future__ import annotations

import json

import pytest

from tests.simulation.__main__ import main
from tests.simulation.flaws import FLAWS
from tests.simulation.world import run

SEEDS = 60
FIRST = 0
WITHIN = 200
"""A flaw is found by one of so many seeds."""


@pytest.mark.parametrize("part", range(4))
def test_every_promise_is_kept_whatever_befalls(part: int) -> None:
    for seed in range(FIRST + part, FIRST + SEEDS, 4):
        result = run(seed)
        assert not result.fault, f"seed {seed}: {result.fault}"
        assert result.events > 10


@pytest.mark.parametrize("flaw", FLAWS)
def test_a_broken_core_is_found(flaw: str) -> None:
    found = (result.fault for seed in range(WITHIN) if (result := run(seed, FLAWS[flaw])).fault)
    assert "invariant" in next(found, "")


def test_a_seed_gives_the_same_run_each_time() -> None:
    first, second = run(3, trace=True), run(3, trace=True)
    assert len(first.trace) > 100
    assert first == second
    assert run(4, trace=True).trace != first.trace


def test_the_command_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seed", "1", "--trace"]) == 0
    told = capsys.readouterr()
    assert "1 seeds in" in told.out
    assert " accepted, for " in told.err
    assert main(["--seeds", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed"] == []


def test_the_command_names_the_seed_that_failed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flawed = FLAWS["the ladder makes up receipts"]
    monkeypatch.setattr("tests.simulation.__main__.run", lambda seed, trace: run(seed, flawed, trace))
    assert main(["--seed", "0"]) == 1
    assert "seed 0: invariant 2" in capsys.readouterr().out
