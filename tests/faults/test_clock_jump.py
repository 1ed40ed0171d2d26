"""A worker's clock is an hour wrong: nothing is over before its time, nothing is early, nothing is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from bus.clock import Clock, SystemClock
from bus.keys import Keys, inbox_of
from bus.outcome import Done
from bus.people.profile import Contacts, Webhook
from bus.pipe import Pipe
from fanout.deliver.guard import Provider
from fanout.main import run
from tests.conftest import open_pipe
from tests.fanout.office import HOOK, Scripted, town, until
from tests.fanout.stand import send, settings_for
from tests.faults.crowd import eventually
from tests.servers import RedisSite

HOUR = 3_600.0
PATIENCE = 40.0
LADDER = [{"via": "live"}, {"via": "webhook", "after": 2}]


class Wrong(SystemClock):
    """A machine's clock that is `by` seconds ahead."""

    def __init__(self, by: float) -> None:
        self._by = by

    def wall(self) -> float:
        return super().wall() + self._by


@asynccontextmanager
async def _worker(site: RedisSite, keys: Keys, clock: Clock) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(run(settings_for(site.url, keys), stop, clock))
        yield
        stop.set()


async def _arrived(pipe: Pipe, keys: Keys, user: str, count: int) -> list[str]:
    """Ids of the events in an inbox, once there are so many."""
    entries: list[Any] = []

    async def there() -> bool:
        entries[:] = await pipe.ask("XRANGE", keys.log(inbox_of(user)), "-", "+")
        return len(entries) >= count

    await until(there)
    return [flat[1].decode().rpartition("/")[2] for _, flat in entries]


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_events_are_neither_over_nor_due_by_a_wrong_clock(redis_server: RedisSite, keys: Keys, by: float) -> None:
    later = datetime.now(UTC) + timedelta(seconds=HOUR / 2)
    async with asyncio.timeout(PATIENCE), open_pipe(redis_server.url) as pipe:
        async with _worker(redis_server, keys, Wrong(by)):

            async def tell(name: str, **extra: Any) -> None:
                await send(pipe, keys, {"id": name, "type": "x", "to": {"users": ["ann"]}, **extra})

            await tell("short-lived", ttl=60)
            await tell("later", at=later.isoformat())
            await tell("plain")
            assert await _arrived(pipe, keys, "ann", 2) == ["short-lived", "plain"]
            soon = datetime.now(UTC) + timedelta(seconds=1.5)
            await tell("soon", at=soon.isoformat(), ttl=60)
            assert await _arrived(pipe, keys, "ann", 3) == ["short-lived", "plain", "soon"]
            assert datetime.now(UTC) >= soon
        timers = await pipe.ask("ZRANGE", keys.timers(keys.partition("ann")), 0, -1)
        assert [b'"later"' in timer for timer in timers if timer.startswith(b"event")] == [True]


@pytest.mark.parametrize("by", [HOUR, -HOUR])
async def test_a_ladder_climbs_in_its_time_by_wrong_clocks(redis_server: RedisSite, keys: Keys, by: float) -> None:
    calls: list[Any] = []

    def answer(delivery: Any) -> Done:
        calls.append((delivery.event.id, SystemClock().wall()))
        return Done()

    async with asyncio.timeout(PATIENCE), town(redis_server.url, keys, Wrong(by)) as place:
        await place.person("ann", contacts=Contacts(webhook=Webhook("https://hooks.example/ann", HOOK.secret)))
        # Somebody who was here a moment ago, so that the step waits.
        now = round(SystemClock().wall() * 1000)
        await place.pipe.ask("HSET", keys.routes(inbox_of("ann")), "gone", now)
        provider = {"webhook": (Provider("main", Scripted(answer)),)}
        async with _worker(redis_server, keys, Wrong(by)), place.working("webhook", providers=provider):
            event = {"id": "e", "type": "x", "to": {"users": ["ann"]}, "ttl": 60, "ladder": LADDER}
            began = SystemClock().wall()
            await place.pipe.ask("XADD", keys.events(keys.partition("ann")), "*", "e", orjson.dumps(event))
            await eventually(lambda: calls)
        ((name, at),) = calls
        assert name == "e"
        assert 1.9 <= at - began < PATIENCE
