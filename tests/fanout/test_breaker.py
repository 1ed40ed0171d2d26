"""The breaker: opens on the third failure in a row, probes when its rest is over, and forgets nothing by chance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanout.deliver.breaker import _NEXT, FAILURES, PROBE, RESTS, Breaker, State, _Happening


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admit(now) == 0
        breaker.failed(now)
    return breaker


def test_every_state_knows_every_happening_but_the_end_of_a_rest_that_it_does_not_have() -> None:
    missing = {(state, happening) for state in State for happening in _Happening} - _NEXT.keys()
    assert missing == {(State.CLOSED, _Happening.TIME), (State.PROBING, _Happening.TIME)}


def test_the_third_failure_in_a_row_opens_it() -> None:
    breaker = Breaker()
    assert [breaker.failed(5.0), breaker.failed(5.0), breaker.failed(5.0)] == [0.0, 0.0, RESTS[0]]
    assert breaker.state is State.OPEN
    assert breaker.admit(6.0) == RESTS[0] - 1.0


def test_a_success_between_begins_the_count_anew() -> None:
    breaker = Breaker()
    for _ in range(10):
        assert breaker.failed(0.0) == 0
        assert breaker.failed(0.0) == 0
        breaker.succeeded()
    assert breaker.state is State.CLOSED


def test_when_its_rest_is_over_one_probe_decides() -> None:
    breaker = opened()
    now = RESTS[0]
    assert breaker.admit(now) == 0
    assert breaker.state is State.PROBING
    assert breaker.admit(now) == PROBE
    breaker.succeeded()
    assert breaker.admit(now) == 0
    assert breaker.state is State.CLOSED


def test_each_probe_that_fails_makes_the_rest_longer_up_to_a_bound() -> None:
    breaker, now = opened(), 0.0
    for rest in (*RESTS, RESTS[-1]):
        assert breaker.admit(now) == rest
        now += rest
        assert breaker.admit(now) == 0
        breaker.failed(now)
    assert breaker.admit(now) == RESTS[-1]


def test_after_a_success_the_first_rest_is_short_again() -> None:
    breaker = opened()
    breaker.admit(RESTS[0])
    breaker.failed(RESTS[0])
    now = RESTS[0] + RESTS[1]
    breaker.admit(now)
    breaker.succeeded()
    for _ in range(FAILURES):
        breaker.failed(now)
    assert breaker.admit(now) == RESTS[0]


def test_a_probe_that_ends_without_a_word_lets_another_be_made() -> None:
    breaker = opened()
    breaker.admit(RESTS[0])
    breaker.ended(RESTS[0])
    assert breaker.state is State.OPEN
    assert breaker.admit(RESTS[0]) == 0


def test_what_began_before_it_opened_changes_nothing() -> None:
    breaker = opened()
    breaker.succeeded()
    breaker.ended(1.0)
    assert breaker.failed(1.0) == RESTS[0] - 1.0
    assert breaker.state is State.OPEN
    closed = Breaker()
    closed.ended(0.0)
    assert closed.state is State.CLOSED


@given(st.lists(st.tuples(st.sampled_from(["admit", "succeeded", "failed", "ended"]), st.floats(0, 50))))
def test_a_provider_that_recovers_is_always_found_out(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for what, pause in steps:
        now += pause
        match what:
            case "admit":
                assert 0 <= breaker.admit(now) <= RESTS[-1]
            case "succeeded":
                breaker.succeeded()
            case "failed":
                assert 0 <= breaker.failed(now) <= RESTS[-1]
            case _:
                breaker.ended(now)
    breaker.ended(now)  # whatever was under way is over
    now += RESTS[-1]
    assert breaker.admit(now) == 0
    breaker.succeeded()
    assert breaker.state is State.CLOSED
