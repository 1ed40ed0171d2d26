"""The doorbell: it rings for what is new, and when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from bus.clock import SystemClock
from bus.connect import BLOCK
from bus.keys import Keys
from bus.pipe import Arg, OnReply, Pipe
from bus.pipe.commands import Commands
from fanout import doorbell
from fanout.doorbell import Doorbell
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import open_pipe
from tests.servers import RedisSite


@asynccontextmanager
async def hung(url: str, stream: str) -> AsyncIterator[tuple[Doorbell, Pipe]]:
    line = Pipe(url, name="test", clock=SystemClock(), timeout=BLOCK + 1, scripts=False)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(line.run())
        await line.wait_up(30)
        yield Doorbell(line, stream), line
        running.cancel()


async def test_it_rings_for_what_is_there_and_for_what_comes(redis_server: RedisSite, keys: Keys) -> None:
    stream = keys.events(0)
    async with open_pipe(redis_server.url) as pipe, hung(redis_server.url, stream) as (bell, _):
        entry = (await pipe.ask("XADD", stream, "*", "e", "x")).decode()
        await bell.wait("0-0")
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bell.wait(entry))
            while not int((await pipe.ask("INFO", "clients")).split(b"blocked_clients:")[1].split()[0]):
                pass
            assert not waiting.done()
            await pipe.ask("XADD", stream, "*", "e", "x")


async def test_it_goes_on_waiting_when_nothing_comes(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorbell, "BLOCK", 0.01)
    async with (
        open_pipe(redis_server.url) as pipe,
        hung(redis_server.url, keys.events(0)) as (bell, _),
        asyncio.TaskGroup() as group,
    ):
        waiting = group.create_task(bell.wait("0-0"))
        await asyncio.sleep(0.05)  # several waits at Redis
        assert not waiting.done()
        await pipe.ask("XADD", keys.events(0), "*", "e", "x")


class Silent(Commands):
    """A line on which nothing comes; in the moment in which that is said for the first time, `moment` is called."""

    up = True

    def __init__(self) -> None:
        self.asked = 0
        self.moment: Callable[[], None]

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        self.asked += 1
        if self.asked == 1:
            asyncio.get_running_loop().call_soon(on_reply, None)
            asyncio.get_running_loop().call_soon(self.moment)


async def test_it_hears_who_rings_in_the_moment_in_which_nothing_came(keys: Keys) -> None:
    line = Silent()
    bell = Doorbell(line, keys.events(0))  # type: ignore[arg-type]
    line.moment = bell.ring
    async with asyncio.timeout(60):
        await bell.wait("0-0")
    assert line.asked == 1


async def test_it_can_be_rung_by_hand(redis_server: RedisSite, keys: Keys) -> None:
    async with hung(redis_server.url, keys.events(0)) as (bell, _), asyncio.TaskGroup() as group:
        bell.ring()  # nobody waits: nothing happens
        waiting = group.create_task(bell.wait("0-0"))
        await asyncio.sleep(0)
        assert not waiting.done()
        bell.ring()
        bell.ring()


@pytest.mark.one_server
async def test_after_an_outage_it_rings_for_what_may_have_come(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), hung(url, keys.events(0)) as (bell, line):
        async with asyncio.TaskGroup() as group:
            group.create_task(bell.wait("0-0"))
            await asyncio.sleep(0)
            proxy.cut()
        while line.up:  # noqa: ASYNC110  # the loop has to turn
            await asyncio.sleep(0)
        await bell.wait("0-0")


async def test_a_refusal_is_not_asked_for_in_a_loop(redis_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(redis_server.url) as pipe, hung(redis_server.url, keys.events(0)) as (bell, _):
        await pipe.ask("SET", keys.events(0), "x")
        began = asyncio.get_running_loop().time()
        await bell.wait("0-0")
        assert asyncio.get_running_loop().time() - began >= doorbell.OUTAGE * 0.9
