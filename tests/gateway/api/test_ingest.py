"""Ingest and an outage of Redis: what was accepted is there, what was not is said, and nothing is sent twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from bus.errors import BusDown, Refused
from bus.event import MAX_EVENT_BYTES, Event
from bus.keys import Keys
from gateway.ingest import Position, TooLarge
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import UP, open_pipe
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import EVENT
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis


def event(**more: Any) -> Event:
    return Event(**({"id": "e", "source": "shop", "type": "t", "created_at": 0.0, "users": ("alice",)} | more))


async def test_events_go_where_their_ordering_key_says(open_api: OpenApi) -> None:
    async with open_api() as api:
        given = [
            event(),
            event(key="k"),
            event(users=("a", "b"), id="two"),
            event(users=(), topics=("news:a", "news:b")),
        ]
        outcomes = await api.ingest.accept(given, "shop")
        partitions = [outcome.partition for outcome in outcomes if isinstance(outcome, Position)]
        assert partitions == [api.keys.partition(name) for name in ("alice", "k", "two", "news:a")]
        assert api.ingest.stats.accepted == {"shop": 4}
        assert await api.ingest.accept([], "shop") == []


async def test_post_calls_back_and_never_at_once(open_api: OpenApi) -> None:
    async with open_api() as api:
        for given, kind in ((event(), Position), (event(data="x" * MAX_EVENT_BYTES), TooLarge)):
            called: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            api.ingest.post(given, "tocsin", called.set_result)
            assert not called.done()
            assert isinstance(await called, kind)


async def test_without_redis_a_post_is_503_at_once_and_works_when_it_is_back(tmp_path: Path, keys: Keys) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    try:
        async with harness.open_api(server.url, keys) as api:
            assert (await api.post(EVENT)).status_code == 202
            server.stop()
            while api.pipe.up:  # noqa: ASYNC110  # the loop has only to notice
                await asyncio.sleep(0)
            for body in (EVENT, {"events": [EVENT, EVENT]}):
                refused = await api.post(body)
                assert refused.status_code == 503
                assert refused.headers["retry-after"] == "1"
                assert refused.headers["content-type"] == "application/problem+json"
            assert (await api.post(EVENT, {"idempotency-key": "k"})).status_code == 503
            server.start()
            await api.pipe.wait_up(UP)
            assert (await api.post(EVENT)).status_code == 202
            assert len(await api.stored()) == 2
            assert api.ingest.stats.failed == {"BusDown": 3}
    finally:
        server.stop()


@pytest.mark.one_server
async def test_what_was_appended_without_an_answer_is_not_appended_again(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        open_pipe(redis_server.url) as looking,
        holding_proxy(redis_server.port) as (proxy, url),
        harness.open_api(url, keys) as api,
    ):
        stream, appended, count = keys.events(keys.partition("alice")), False, 0
        while not appended:
            count = await looking.ask("XLEN", stream)
            proxy.hold()
            async with asyncio.TaskGroup() as group:
                posted = group.create_task(api.post(EVENT))
                await proxy.held.wait()
                # Else it is the answer about its allowance: the one before had none left over, or too long ago.
                appended = await looking.ask("XLEN", stream) > count
                if appended:
                    proxy.cut()
                else:
                    proxy.release()
            assert posted.result().status_code == (503 if appended else 202)
        await api.pipe.wait_up(UP)
        assert len(await api.stored()) == count + 1


async def test_a_full_redis_takes_nothing_and_says_so(tmp_path: Path, keys: Keys) -> None:
    with EmbeddedRedis(tmp_path) as server:
        async with harness.open_api(server.url, keys) as api:
            await api.pipe.ask("CONFIG", "SET", "maxmemory", "1")
            response = await api.post(EVENT)
            assert response.status_code == 503
            assert api.ingest.stats.failed == {"OOM": 1}
            await api.pipe.ask("CONFIG", "SET", "maxmemory", "0")
            assert (await api.post(EVENT)).status_code == 202


async def test_one_partition_refuses_and_the_others_accept(open_api: OpenApi, caplog: pytest.LogCaptureFixture) -> None:
    async with open_api() as api:
        await api.pipe.ask("SET", api.keys.events(api.keys.partition("alice")), "not a stream")
        bob = next(name for name in map(str, range(100)) if api.keys.partition(name) != api.keys.partition("alice"))
        response = await api.post({"events": [EVENT, EVENT | {"to": {"users": [bob]}}]})
        assert response.status_code == 207
        refused, accepted = response.json()["events"]
        assert refused["problem"]["status"] == 503
        assert "partition" in accepted
        assert [record.code for record in caplog.records] == ["WRONGTYPE"]  # type: ignore[attr-defined]
        await api.pipe.ask("DEL", api.keys.events(api.keys.partition("alice")))


@pytest.mark.one_server
async def test_outcomes_are_values(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys) as api:
        await api.pipe.ask("SET", keys.events(keys.partition("alice")), "x")
        (outcome,) = await api.ingest.accept([event()], "shop")
        assert isinstance(outcome, Refused)
        await api.pipe.ask("DEL", keys.events(keys.partition("alice")))
        await api.cut_off(proxy)
        (outcome,) = await api.ingest.accept([event()], "shop")
        assert isinstance(outcome, BusDown)
