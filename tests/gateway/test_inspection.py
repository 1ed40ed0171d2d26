"""Looking at connections again: everyone meant is reached, however many orders follow each other."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.inspection import SLICE, Inspection
from gateway.pace import Pace
from tests.gateway.turns import SlowClock


class Tiring(SlowClock):
    """A second later at each look: one step is all that a turn has time for."""

    def monotonic(self) -> float:
        self.now += 1
        return self.now


def person(user: str) -> Any:
    return SimpleNamespace(session=SimpleNamespace(user=user, subscriptions={}, stamp=SimpleNamespace(jti="")))


async def test_who_comes_last_is_reached_while_orders_keep_coming() -> None:
    everyone, seen = [person(str(number)) for number in range(4 * SLICE)], set[str]()
    inspection = Inspection(Pace(Tiring()), lambda: everyone, lambda connection: seen.add(connection.session.user))
    last = everyone[-1].session.user
    inspection.user(last)
    for turn in range(40):
        inspection.user(str(turn))
        await asyncio.sleep(0)
    assert last in seen


async def test_an_order_that_comes_in_a_round_is_for_everyone_too() -> None:
    everyone, seen = [person(str(number)) for number in range(3 * SLICE)], list[str]()
    inspection = Inspection(Pace(Tiring()), lambda: everyone, lambda connection: seen.append(connection.session.user))
    inspection.user("5")
    await asyncio.sleep(0)
    inspection.user("6")
    for _ in range(20):
        await asyncio.sleep(0)
    assert seen == ["5", "6"]
    inspection.all()
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(seen) == 2 + len(everyone)


async def test_a_fault_at_one_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    everyone, seen = [person("bad"), person("good")], list[str]()

    def look(connection: Any) -> None:
        if connection.session.user == "bad":
            raise RuntimeError("a bug")
        seen.append(connection.session.user)

    inspection = Inspection(Pace(Tiring()), lambda: everyone, look)
    for _ in range(2):
        inspection.all()
        for _ in range(5):
            await asyncio.sleep(0)
    assert seen == ["good", "good"]
