"""Settling a batch: in order, and nothing behind an unfinished entry."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled, Unavailable
from bus.policy import FANOUT, Defer, Pause
from bus.settlement import Acked, Buried, Held, Settled, settle

FINISHED = (Done, Gone, Expired, Rejected)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done),
    st.builds(Expired),
    st.builds(Gone, st.just("gone")),
    st.builds(Rejected, st.just("bad")),
    st.builds(Retry, st.just("failed")),
    st.builds(Throttled, st.floats(0, 9), st.sampled_from(Scope)),
    st.builds(Unavailable, st.just("away")),
    st.builds(Misconfigured, st.just("wrong key")),
)


def ids(count: int) -> list[str]:
    return [f"{n}-0" for n in range(count)]


def test_neighbours_are_acknowledged_in_one_step() -> None:
    outcomes: list[Outcome] = [Done(), Done(), Rejected("bad"), Done(), Expired()]
    assert settle(ids(5), outcomes, 0, FANOUT, 0.5) == Settled(
        (Acked(("0-0", "1-0")), Buried("2-0", "bad", 1), Acked(("3-0", "4-0"))), None
    )


def test_failures_from_before_belong_to_the_first_entry() -> None:
    assert settle(ids(1), [Retry("failed")], 4, FANOUT, 0.5).steps == (Buried("0-0", "failed", 5),)
    assert settle(ids(2), [Done(), Retry("failed")], 4, FANOUT, 0.5) == Settled(
        (Acked(("0-0",)),), Held("1-0", Defer(0.1, counted=True))
    )


def test_wrong_settings_of_ours_pause_the_queue() -> None:
    held = settle(ids(1), [Misconfigured("wrong key")], 0, FANOUT, 0.5).held
    assert held == Held("0-0", Pause(60.0, "wrong key"))


def test_what_was_not_tried_stays() -> None:
    assert settle(ids(3), [Done()], 0, FANOUT, 0.5) == Settled((Acked(("0-0",)),), None)
    assert settle([], [], 0, FANOUT, 0.5) == Settled((), None)


@given(st.lists(OUTCOMES, max_size=20), st.integers(0, 6), st.floats(0, 1))
def test_nothing_behind_an_unfinished_entry_is_settled(outcomes: list[Outcome], failures: int, chance: float) -> None:
    settled = settle(ids(len(outcomes)), outcomes, failures, FANOUT, chance)
    done = [i for step in settled.steps for i in (step.ids if isinstance(step, Acked) else (step.id,))]
    assert done == ids(len(done))
    if settled.held is None:
        assert len(done) == len(outcomes)
    else:
        assert settled.held.id == f"{len(done)}-0"
    for place, outcome in enumerate(outcomes[: len(done)]):
        assert isinstance(outcome, FINISHED) or (place == 0 and isinstance(outcome, Retry) and failures >= 4)
