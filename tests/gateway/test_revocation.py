"""Revocations: what a set of them says of a token, how it forgets, and that no two names meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.effects import UNSTAMPED, Stamp
from gateway.revocation import (
    CLOSINGS,
    REFUSALS,
    Dismissal,
    Kept,
    Order,
    Revocations,
    Token,
    User,
    Verdict,
    pack,
    unpack,
)

NOW = 1_700_000_000.0
LONG = int((NOW + 3_600) * 1000)
NAMES = st.text("ab:td u{}%1", min_size=1, max_size=5) | st.text(min_size=1, max_size=8)
MOMENTS = st.floats(0, 4e9)
ORDERS = (
    st.builds(Token, NAMES)
    | st.builds(User, NAMES, MOMENTS)
    | st.builds(Dismissal, st.text("0123456789abcdef", min_size=1), NAMES, st.integers(3000, 4999))
)


def holding(*orders: Order, until: int = LONG) -> Revocations:
    found = Revocations()
    for order in orders:
        assert found.take(Kept(order, until), NOW)
    return found


@given(ORDERS, st.integers(0, 2**52))
def test_what_was_packed_is_read_again(order: Order, until: int) -> None:
    name, value = pack(order)
    assert unpack(name, f"{until} {value}") == Kept(order, until)


def of(order: Order) -> object:
    return (type(order), order.user if isinstance(order, User) else order.jti if isinstance(order, Token) else order.id)


@given(ORDERS, ORDERS)
def test_no_two_that_revoke_different_things_have_one_name(one: Order, other: Order) -> None:
    assert (pack(one)[0] == pack(other)[0]) == (of(one) == of(other))


@pytest.mark.parametrize(
    ("name", "value"),
    [("x:a", "1 "), ("t:a", "soon "), ("u:a", "1 long ago"), ("u:a", "1"), ("d:a", "1 x alice"), ("", ""), ("t:a", "")],
)
def test_what_cannot_be_read_is_passed_over(name: str, value: str) -> None:
    assert unpack(name, value) is None


def test_a_token_is_known_by_its_id_whoever_has_it() -> None:
    found = holding(Token("j1"))
    assert found.judge("alice", Stamp("j1", NOW + 9)) is Verdict.REVOKED
    assert found.judge("alice", Stamp("j2", 0.0)) is None
    assert found.judge("alice", UNSTAMPED) is None
    assert holding(Token("u:alice")).judge("alice", Stamp("x", 0.0)) is None
    assert holding(User("j1", NOW)).judge("alice", Stamp("j1", NOW - 5)) is None


@pytest.mark.parametrize(
    ("issued_at", "verdict"),
    [
        (0.0, Verdict.REVOKED),
        (NOW - 1, Verdict.REVOKED),
        (NOW, Verdict.AMBIGUOUS),
        (NOW + 0.2, Verdict.REVOKED),
        (NOW + 0.5, None),
        (NOW + 0.7, None),
        (NOW + 1, None),
    ],
)
def test_of_a_user_all_that_is_older_than_the_moment(issued_at: float, verdict: Verdict | None) -> None:
    found = holding(User("alice", NOW + 0.5))
    assert found.judge("alice", Stamp("", issued_at)) is verdict
    assert found.judge("bob", Stamp("", issued_at)) is None


def test_a_token_without_a_time_is_older_than_any() -> None:
    assert holding(User("alice", 2.0)).judge("alice", UNSTAMPED) is Verdict.REVOKED


def test_every_verdict_has_its_answer() -> None:
    assert set(REFUSALS) == set(CLOSINGS) == set(Verdict)
    assert REFUSALS[Verdict.REVOKED].value.code == CLOSINGS[Verdict.REVOKED].value.code == 3500
    assert (REFUSALS[Verdict.AMBIGUOUS].value.code, CLOSINGS[Verdict.AMBIGUOUS].value.code) == (109, 3005)


def test_the_later_moment_and_the_longer_time_hold() -> None:
    found = holding(User("alice", NOW))
    assert not found.take(Kept(User("alice", NOW - 5), LONG), NOW)
    assert not found.take(Kept(User("alice", NOW - 5), LONG + 1), NOW)  # only prolonged: nobody is to be told
    assert list(found) == [Kept(User("alice", NOW), LONG + 1)]
    assert found.take(Kept(User("alice", NOW + 5), 0), NOW)
    assert list(found) == [Kept(User("alice", NOW + 5), LONG + 1)]
    found.forget(LONG / 1000)
    assert len(found) == 1
    found.forget((LONG + 1) / 1000)
    assert len(found) == 0


def test_what_is_over_is_forgotten_and_not_taken() -> None:
    found = Revocations()
    assert not found.take(Kept(Token("a"), int(NOW * 1000)), NOW)
    assert found.take(Kept(Token("a"), int((NOW + 1) * 1000)), NOW)
    assert found.judge("alice", Stamp("a", 0.0)) is Verdict.REVOKED
    assert found.take(Kept(Token("b"), int((NOW + 9) * 1000)), NOW + 2)
    assert found.judge("alice", Stamp("a", 0.0)) is None
    assert len(found) == 1


def test_there_are_never_more_than_may_be() -> None:
    found = Revocations(most=3)
    for n in range(10):
        found.take(Kept(Token(str(n)), LONG - n), NOW)
    assert {kept.order for kept in found} == {Token("0"), Token("1"), Token("2")}
    found.take(Kept(Token("long"), LONG + 5), NOW)
    assert len(found) == 3
    assert found.judge("alice", Stamp("2", 0.0)) is None


@given(st.lists(st.tuples(ORDERS, st.integers(0, 50), st.integers(0, 50)), max_size=60), st.integers(1, 5))
def test_it_is_as_if_all_were_kept_in_a_list(given_orders: list[tuple[Order, int, int]], most: int) -> None:
    """Against a model: of each name the largest of all that was not over when it came, for as long as it lasts."""
    free, bounded = Revocations(), Revocations(most)
    model: dict[str, Kept] = {}
    now = 0
    for order, lasts, passes in given_orders:
        now += passes
        model = {name: kept for name, kept in model.items() if kept.until > now * 1000}
        kept, name = Kept(order, (now + lasts) * 1000), pack(order)[0]
        old = model.get(name)
        if lasts or old:
            best = order
            if old is not None and isinstance(old.order, User) and isinstance(order, User):
                best = max(old.order, order, key=lambda user: user.before)
            elif old is not None:
                best = order
            model[name] = Kept(best, max(kept.until, old.until) if old else kept.until)
        free.take(kept, float(now))
        bounded.take(kept, float(now))
        assert {pack(k.order)[0]: k for k in free} == model
        assert len(bounded) <= most
    free.forget(1e9)
    assert len(free) == 0


def test_what_was_prolonged_outlives_its_first_end() -> None:
    found = holding(Token("a"), until=int((NOW + 1) * 1000))
    found.take(Kept(Token("a"), int((NOW + 5) * 1000)), NOW)
    found.forget(NOW + 2)
    assert found.judge("alice", Stamp("a", 0.0)) is Verdict.REVOKED


def test_prolonging_without_end_takes_no_memory() -> None:
    found = Revocations()
    for n in range(1_000):
        found.take(Kept(Token("a"), LONG + n), NOW)
    assert len(found) == 1
    assert len(found._ends) < 50
