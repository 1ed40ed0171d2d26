"""Health: three states by the age of the newest proof, and no way but those of the table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.settings import BadSetting
from gateway.health import TRANSITIONS, Finding, Health, Patience, Readiness, Vigil, as_markdown

PATIENCE = Patience(3.0, 30.0)


def test_every_state_knows_every_finding() -> None:
    assert set(TRANSITIONS) == set(Health)
    assert all(set(moves) == set(Finding) for moves in TRANSITIONS.values())
    assert as_markdown().count("\n") == 2 + len(Health)
    assert "| isolated | healthy | isolated | isolated |" in as_markdown()


def test_a_node_begins_stale_and_is_healthy_at_its_first_proof() -> None:
    vigil = Vigil(PATIENCE, 100.0)
    assert vigil.state is Health.STALE
    assert not vigil.look(100.5)
    assert vigil.state is Health.STALE
    vigil.prove(101.0)
    assert vigil.look(101.2)
    assert vigil.state is Health.HEALTHY
    assert vigil.seconds(103.0) == 2.0


def test_one_that_never_hears_anything_is_isolated_in_the_end() -> None:
    vigil = Vigil(PATIENCE, 100.0)
    assert not vigil.look(104.0)
    assert vigil.seconds(104.0) == 4.0
    assert vigil.look(130.0)
    assert vigil.state is Health.ISOLATED


def test_it_goes_and_comes_back_without_wavering() -> None:
    vigil = Vigil(PATIENCE, 0.0)
    vigil.prove(0.0)
    seen = []
    for now in (1.0, 2.9, 3.0, 15.0, 29.9, 30.0, 60.0):
        vigil.look(now)
        seen.append(vigil.state.value)
    assert seen == ["healthy", "healthy", "stale", "stale", "stale", "isolated", "isolated"]
    vigil.prove(50.0)  # a probe that hung for long: the way was there then
    vigil.look(61.0)
    assert vigil.state is Health.ISOLATED
    vigil.prove(61.0)
    assert vigil.look(61.1)
    assert vigil.state is Health.HEALTHY
    vigil.prove(55.0)
    assert vigil.seconds(62.0) == 1.0


@pytest.mark.parametrize("times", [(0.0, 1.0), (3.0, 3.0), (5.0, 2.0), (-1.0, 2.0)])
def test_times_in_the_wrong_order_are_refused(times: tuple[float, float]) -> None:
    with pytest.raises(BadSetting):
        Patience(*times)


@given(st.lists(st.tuples(st.floats(0, 20), st.booleans()), max_size=50))
def test_it_is_ready_exactly_when_its_proof_is_fresh(steps: list[tuple[float, bool]]) -> None:
    vigil, now = Vigil(PATIENCE, 0.0), 0.0
    proved = False
    for passes, proof in steps:
        now += passes
        if proof:
            vigil.prove(now)
            proved = True
        vigil.look(now)
        assert (vigil.state is Health.HEALTHY) == (proved and vigil.seconds(now) < 3)
        if vigil.seconds(now) >= 30:
            assert vigil.state is Health.ISOLATED


def test_readiness_is_a_plain_value() -> None:
    assert Readiness(True, "healthy", 0.1) == Readiness(True, "healthy", 0.1)
