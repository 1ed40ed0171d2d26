"""What is known of some servers holds, whatever another does not say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from bus.errors import BusDown
from bus.keys import Keys
from bus.pipe import Arg
from gateway.barometer import Barometer
from gateway.pressure import Pressure
from gateway.stats import Stats


class Master:
    """Says how full it is, in percent; None: nothing."""

    def __init__(self, used: int | None) -> None:
        self.used = used

    async def ask(self, *command: Arg) -> bytes:
        if self.used is None:
            raise BusDown("away")
        return b"used_memory:%d\r\nmaxmemory:100\r\n" % self.used


class Servers:
    """Two masters; the second has all partitions with odd numbers, each as long as `length`."""

    def __init__(self, *used: int | None) -> None:
        self.one, self.two = (Master(each) for each in used)
        self.length = 0

    def masters(self) -> tuple[Master, ...]:
        return self.one, self.two

    async def asks(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        return [self._answer(*command) for command in commands]

    def _answer(self, name: Arg, key: Arg, *rest: Arg) -> Any:
        if self.two.used is None and KEYS.events(1) == key:
            return BusDown("away")
        return {"XLEN": self.length, "HGET": None}.get(str(name), [(b"5-0", [])])


KEYS = Keys("tocsin", 2)


def looking(servers: Servers) -> tuple[Barometer, Pressure]:
    pressure = Pressure(memory=0.9, backlog=10)
    return Barometer(servers, KEYS, pressure, Stats()), pressure  # type: ignore[arg-type]


async def test_one_that_is_full_and_then_says_nothing_stays_full() -> None:
    servers = Servers(10, 95)
    barometer, pressure = looking(servers)
    await barometer.look()
    assert pressure.full
    servers.two.used = None
    await barometer.look()
    assert pressure.full
    servers.two.used = 10
    await barometer.look()
    assert not pressure.full


@pytest.mark.parametrize("used", [10, 95])
async def test_one_that_says_nothing_hides_nothing_of_the_others(used: int) -> None:
    servers = Servers(used, None)
    servers.length = 10
    barometer, pressure = looking(servers)
    await barometer.look()
    assert pressure.full is (used == 95)
    assert pressure.crowded == {0}
    servers.length = 0
    await barometer.look()
    assert pressure.crowded == set()


async def test_when_nobody_says_anything_all_stays_as_it_was() -> None:
    servers = Servers(None, None)
    barometer, pressure = looking(servers)
    for full in (False, True):
        pressure.full = full
        await barometer.look()
        assert pressure.full is full
