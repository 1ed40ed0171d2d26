"""Redis's clock as a worker sees it, whatever its own clock says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bus import server_clock
from bus.clock import SystemClock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from bus.server_clock import ServerClock
from tests.conftest import open_pipe
from tests.servers import RedisSite

NEAR = 60.0
"""Seconds: as far as it may be off when Redis or we had to wait for our turn; a wrong clock is off by an hour."""


@pytest_asyncio.fixture
async def pipe(redis_server: RedisSite) -> AsyncIterator[Pipe]:
    async with open_pipe(redis_server.url) as pipe:
        yield pipe


class Wrong(SystemClock):
    """A machine's clock that is an hour ahead."""

    def wall(self) -> float:
        return super().wall() + 3_600


async def test_until_redis_was_asked_it_is_our_own(pipe: Pipe, keys: Keys) -> None:
    clock = ServerClock(Wrong(), pipe, keys)
    assert clock.wall() == pytest.approx(Wrong().wall(), abs=NEAR)
    await clock.look()
    assert clock.wall() == pytest.approx(SystemClock().wall(), abs=NEAR)
    assert clock.monotonic() == pytest.approx(SystemClock().monotonic(), abs=NEAR)


async def test_it_is_looked_at_again_and_goes_on_while_redis_is_away(
    pipe: Pipe, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_clock, "EVERY", 0.01)
    clock = ServerClock(Wrong(), pipe, keys)
    looks = 0

    async def look() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise BusError("away")
        await ServerClock.look(clock)

    monkeypatch.setattr(clock, "look", look)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = group.create_task(clock.run())
        while looks < 4:  # noqa: ASYNC110  # nothing announces a look
            await asyncio.sleep(0.01)
        running.cancel()
    assert clock.wall() == pytest.approx(SystemClock().wall(), abs=NEAR)
