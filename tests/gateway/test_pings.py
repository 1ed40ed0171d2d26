"""What a pong proves, whatever is written while it is on its way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.ranges import merge
from gateway.effects import Acked, Effect
from gateway.pings import SEND_PING, Pings


def began(since: int, at: int | None = None) -> Pings:
    pings = Pings()
    pings.entered(since, since if at is None else at)
    return pings


def test_a_ping_behind_a_notification_and_a_receipt_for_its_pong() -> None:
    pings = began(7)
    assert pings.wrote(8)
    assert pings._answered() == (Acked(8, 8),)
    assert not pings._asked_for


def test_one_under_way_at_a_time() -> None:
    pings = began(0)
    assert pings.wrote(1)
    assert not pings.wrote(2)
    assert not pings.wrote(5)
    assert pings._answered() == (Acked(1, 1), SEND_PING)
    assert pings._answered() == (Acked(2, 5),)


def test_what_was_written_is_unacknowledged_until_the_pong_that_covers_it() -> None:
    pings = began(7)
    assert not pings.unacknowledged
    pings.wrote(8)
    pings.wrote(9)
    assert pings.unacknowledged
    pings._answered()
    assert pings.unacknowledged
    pings._answered()
    assert not pings.unacknowledged
    pings._ping_due()
    assert not pings.unacknowledged


def test_who_begins_at_the_top_acknowledges_nothing_old() -> None:
    pings = began(7)
    assert pings._ping_due()
    assert pings._answered() == ()


def test_what_was_recovered_counts() -> None:
    pings = Pings()
    assert pings.entered(4, 9)
    assert pings._answered() == (Acked(5, 9),)


def test_a_ping_that_is_under_way_will_do_but_not_for_longer() -> None:
    pings = began(0)
    assert pings.wrote(1)
    assert not pings._overdue
    assert not pings._ping_due()
    assert pings._overdue
    pings._answered()
    assert not pings._overdue


def test_what_a_client_may_say_itself_is_what_it_was_written() -> None:
    pings = began(4, 9)
    assert pings.received(1, 4) is None
    assert pings.received(10, 12) is None
    assert pings.received(7, 12) == (7, 9)
    assert pings.received(1, 6) == (5, 6)
    assert pings._answered() == (Acked(5, 9),)
    assert pings.received(1, 9) is None


HAPPENINGS = st.lists(st.sampled_from(["write", "pong", "due", "say"]), max_size=60)


@given(st.integers(0, 5), HAPPENINGS, st.data())
def test_nothing_is_acknowledged_that_was_not_written_before_the_ping(
    since: int, story: list[str], data: st.DataObject
) -> None:
    """And in the end everything is, once all pongs are there."""
    pings = began(since)
    top, read = since, since
    """Written, and what the client has read when it answers the ping under way."""
    under_way: list[int] = []
    acked: list[tuple[int, int]] = []

    def pong() -> None:
        nonlocal read
        read = under_way.pop()
        done: tuple[Effect, ...] = pings._answered()
        for effect in done:
            if isinstance(effect, Acked):
                assert since < effect.first <= effect.to <= read
                acked.append((effect.first, effect.to))
        if SEND_PING in done:
            under_way.append(top)

    for happening in story:
        if happening == "write":
            top += data.draw(st.integers(1, 3))
            if pings.wrote(top):
                under_way.append(top)
        elif happening == "due":
            if pings._ping_due():
                under_way.append(top)
        elif happening == "say":
            said = pings.received(data.draw(st.integers(0, 9)), data.draw(st.integers(0, 99)))
            if said is not None:
                assert since < said[0] <= said[1] <= top
                acked.append(said)
        elif under_way:
            pong()
        assert len(under_way) <= 1
        assert bool(under_way) == pings._asked_for
    while under_way:
        pong()
    assert merge(acked, ()) == (((since + 1, top),) if top > since else ())
