"""loadtest.ledger: what was delivered, lost, doubled, out of order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loadtest.ledger import Ledger, Tally, total


def account(position: int, numbers: list[int], last: int) -> Tally:
    ledger = Ledger(position)
    for number in numbers:
        ledger.receive(number)
    return ledger.close(last)


def test_all_in_order_is_clean() -> None:
    tally = account(4, [5, 6, 7], 7)
    assert tally == Tally(delivered=3)
    assert tally.clean


def test_a_hole_and_a_missing_tail_are_lost() -> None:
    assert account(0, [1, 3], 5) == Tally(delivered=2, lost=3)


def test_what_was_sent_after_the_account_is_not_owed() -> None:
    assert account(0, [1, 2, 4], 2) == Tally(delivered=3)


def test_a_number_twice_is_doubled() -> None:
    assert account(0, [1, 1, 2, 1], 2) == Tally(delivered=2, doubled=2)


def test_what_lies_before_the_position_was_not_asked_for() -> None:
    assert account(10, [10], 10) == Tally(doubled=1)


def test_a_late_number_is_out_of_order_once_and_then_doubled() -> None:
    assert account(0, [2, 1, 1], 2) == Tally(delivered=2, disordered=1, doubled=1)


def test_has_all_knows_holes_and_tails() -> None:
    ledger = Ledger(0)
    ledger.receive(1)
    assert ledger.has_all(1)
    assert not ledger.has_all(2)
    ledger.receive(3)
    assert ledger.has_all(1)
    assert not ledger.has_all(3)
    ledger.receive(2)
    assert ledger.has_all(3)
    assert ledger.position == 3


@given(st.permutations(list(range(1, 12))), st.integers(0, 11))
def test_a_permutation_loses_and_doubles_nothing(numbers: list[int], missing: int) -> None:
    tally = account(0, [number for number in numbers if number != missing], 11)
    assert (tally.delivered, tally.lost, tally.doubled) == (11 - (missing > 0), int(missing > 0), 0)
    in_order = [number for number in numbers if number != missing]
    assert (tally.disordered == 0) == (in_order == sorted(in_order))


@given(st.lists(st.integers(1, 30), max_size=60))
def test_delivered_and_doubled_are_all_that_came(numbers: list[int]) -> None:
    tally = account(0, numbers, 30)
    assert tally.delivered == len(set(numbers))
    assert tally.doubled == len(numbers) - len(set(numbers))
    assert tally.delivered + tally.lost == 30


def test_total_adds_up() -> None:
    summed = total([Tally(1, 2, 3, 4), Tally(10, 20, 30, 40)])
    assert summed == Tally(11, 22, 33, 44)
    assert not summed.clean
