"""The entrance: newcomers wait for each other, in order, and are bounded."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gateway.entrance import MOST, MOST_OF_ALL, Entrance
from gateway.pace import Pace
from gateway.states import State
from tests.gateway.turns import SlowClock, until


class Slow(SlowClock):
    """A clock that only moves when somebody is served, and what was served."""

    def __init__(self) -> None:
        super().__init__()
        self.served: list[tuple[Any, bytes]] = []

    def serve(self, connection: Any, message: bytes) -> None:
        self.now += 0.002
        self.served.append((connection, message))


class Newcomer(SimpleNamespace):
    __hash__ = object.__hash__

    def __init__(self) -> None:
        super().__init__(session=SimpleNamespace(state=State.NEW))


def entrance(slow: Slow) -> Entrance:
    return Entrance(Pace(slow), slow.serve)


async def test_a_few_are_served_at_once_and_the_rest_turn_by_turn_in_order() -> None:
    slow = Slow()
    door = entrance(slow)
    those = [Newcomer() for _ in range(30)]
    assert all(door.enter(one, b"%d" % n) for n, one in enumerate(those))
    assert len(slow.served) == 3
    turns = await until(lambda: len(slow.served) == 30)
    assert turns >= 9
    assert [message for _, message in slow.served] == [b"%d" % n for n in range(30)]
    assert len(door) == 0


async def test_no_message_overtakes_another_of_its_connection_and_who_has_gone_is_not_served() -> None:
    slow = Slow()
    door = entrance(slow)
    busy, stays, goes, ends = (Newcomer() for _ in range(4))
    for _ in range(3):
        door.enter(busy, b"x")
    for one in (stays, goes, ends):
        assert door.enter(one, b"first")
    assert door.waits(stays)
    assert door.enter(stays, b"second")
    door.forget(goes)
    ends.session.state = State.CLOSED
    await until(lambda: not len(door))
    assert [(one, message) for one, message in slow.served if one is not busy] == [
        (stays, b"first"),
        (stays, b"second"),
    ]
    assert not door.waits(stays)


async def test_what_waits_is_bounded() -> None:
    slow = Slow()
    door = entrance(slow)
    for _ in range(3):
        door.enter(Newcomer(), b"x")
    one = Newcomer()
    assert door.enter(one, bytes(MOST))
    assert not door.enter(one, b"x")
    taken = sum(door.enter(Newcomer(), bytes(MOST)) for _ in range(MOST_OF_ALL // MOST + 10))
    assert taken == MOST_OF_ALL // MOST - 1
    await until(lambda: not len(door))
    assert door.enter(one, bytes(MOST))
