"""Rules made at run time, in Redis 6.2 and 7: every process takes them, and goes back when they are gone."""

from __future__ import annotations

import asyncio

import pytest

from bus import stored_rules
from bus.clock import SystemClock
from bus.errors import BusDown
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.pipe import Pipe
from bus.stored_rules import StoredRules
from tests.conftest import open_pipe
from tests.servers import RedisSite


async def test_what_one_stores_another_finds(
    any_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rules, "LOOK", 0.01)
    changed: list[int] = []
    async with asyncio.timeout(60), open_pipe(any_server.url) as pipe, asyncio.TaskGroup() as group:
        one = StoredRules(pipe, keys, Namespaces({"news": {"history_size": 1}}))
        other = StoredRules(pipe, keys, Namespaces({"news": {"history_size": 1}}), lambda: changed.append(1))
        looking = group.create_task(other.run())

        async def until(size: int) -> None:
            while other.namespaces.of("news:a").history_size != size:  # noqa: ASYNC110  # it looks by itself
                await asyncio.sleep(0.01)

        assert await one.store("news", {"history_size": 2})
        assert one.namespaces.of("news:a").history_size == 2
        await until(2)
        assert await one.store("team", {"history_size": 3})
        assert await one.store("news", {"history_size": 4})
        await until(4)
        assert await one.delete("news")
        assert not await one.delete("news")
        await until(1)
        assert other.namespaces.of("team:a").history_size == 3
        assert await one.delete("team")
        assert await pipe.ask("EXISTS", keys.rules, keys.rules_version) == 0
        while other.namespaces.of("team:a").history_size == 3:  # noqa: ASYNC110  # it looks by itself
            await asyncio.sleep(0.01)
        assert len(changed) >= 3
        looking.cancel()


async def test_while_redis_is_away_what_was_known_holds(keys: Keys) -> None:
    nowhere = Pipe("redis://127.0.0.1:1/0", name="test", clock=SystemClock())  # nobody keeps it connected
    rules = StoredRules(nowhere, keys, Namespaces({}))
    rules.namespaces.override({"news": {"history_size": 2}})
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        looking = group.create_task(rules.run())
        with pytest.raises(BusDown):
            await rules.store("news", {})
        await asyncio.sleep(0.01)
        assert not looking.done()
        assert rules.namespaces.of("news:a").history_size == 2
        looking.cancel()
