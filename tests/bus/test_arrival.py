"""What is done on a new connection before anything else: when it is called, with what, and what its failure costs."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bus.clock import SystemClock
from bus.errors import BusDown, BusError, Refused
from bus.keys import Keys
from bus.pipe import Arg, Asks, Pipe, Server
from tests.conftest import UP
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis


async def down(pipe: Pipe) -> None:
    """Until the pipe has noticed that its connection is gone."""
    while pipe.up:  # noqa: ASYNC110  # there is no event for it, and the loop has to turn
        await asyncio.sleep(0)


@asynccontextmanager
async def arriving(url: str, arrival: Any) -> Any:
    pipe = Pipe(url, name="test", clock=SystemClock(), arrival=arrival)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        yield pipe
        running.cancel()


async def test_it_comes_before_any_other_command_and_on_every_connection(tmp_path: Path, keys: Keys) -> None:
    arrived: list[Server] = []

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        assert not pipe.up
        assert 0 in slots
        assert 16383 in slots
        assert await asks([("INCR", keys.installation)]) == [len(arrived) + 1]
        arrived.append(server)

    with EmbeddedRedis(tmp_path / "redis") as redis:
        async with arriving(redis.url, arrival) as pipe:
            await pipe.wait_up(UP)
            assert await pipe.ask("INCR", keys.installation) == 2
            run_id = (await pipe.ask("INFO", "server")).decode().partition("run_id:")[2].split()[0]
            assert arrived == [Server(run_id, frozenset())]
            await pipe.ask("DECR", keys.installation)
            redis.kill()
            await down(pipe)
            await asyncio.to_thread(redis.start)
            await pipe.wait_up(UP)
            # Another process is another server, though the data is the same.
            assert len({server.run_id for server in arrived}) == 2


@pytest.mark.one_server
async def test_one_that_fails_costs_the_connection_and_is_tried_again(redis_server: RedisSite) -> None:
    failures: list[BusError] = [Refused("OOM no room"), BusDown("away")]

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        if failures:
            with pytest.raises(BusDown):
                await pipe.ask("PING")
            raise failures.pop()

    async with arriving(redis_server.url, arrival) as pipe:
        await pipe.wait_up(UP)
        assert failures == []
        assert await pipe.ask("PING") == b"PONG"


@pytest.mark.one_server
async def test_what_it_asks_on_a_connection_that_is_over_fails(redis_server: RedisSite) -> None:
    kept: list[Asks] = []

    async def arrival(asks: Asks, server: Server, slots: Container[int]) -> None:
        kept.append(asks)
        quit_commands: Iterable[Sequence[Arg]] = (("QUIT",), ("PING",)) if len(kept) == 1 else ()
        for reply in await asks(quit_commands):
            if isinstance(reply, BusError):
                raise reply

    async with arriving(redis_server.url, arrival) as pipe:
        await pipe.wait_up(UP)
        assert len(kept) == 2
        (reply,) = await kept[0]([("PING",)])
        assert isinstance(reply, BusDown)
