"""More than can be taken in is refused before Redis is full, and what is under way is bounded when Redis hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from bus.keys import Keys
from bus.pipe import Pipe
from gateway.barometer import Barometer
from gateway.pressure import Pressure
from tests.bus.holding_proxy import holding_proxy
from tests.gateway.api.harness import EVENT, Api, open_api
from tests.gateway.stand import Client, running_node
from tocsin.embedded import EmbeddedRedis


def barometer(api: Api, pressure: Pressure) -> Barometer:
    api.ingest.pressure = pressure
    return Barometer(api.pipe, api.keys, pressure, api.parts.stats)


async def fill(pipe: Pipe, key: str, size: int) -> None:
    await pipe.ask("SETRANGE", key, size, "x")  # what Redis holds of a command under way counts too


async def test_events_are_refused_before_redis_is_full_and_taken_again_after(tmp_path: Path, keys: Keys) -> None:
    options = {"appendonly": "no", "maxmemory": "40mb", "maxmemory-policy": "noeviction"}
    with EmbeddedRedis(tmp_path, options=options) as server:
        async with open_api(server.url, keys) as api:
            looking = barometer(api, Pressure(memory=0.8))
            await looking.look()
            assert (await api.post(EVENT)).status_code == 202
            await fill(api.pipe, "ballast", 34_000_000)
            await looking.look()
            refused = await api.post(EVENT)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert api.parts.stats.full == 1
            assert len(await api.stored()) == 1
            await api.pipe.ask("DEL", "ballast")
            await looking.look()
            assert (await api.post(EVENT)).status_code == 202
            assert api.parts.stats.full == 0


async def test_a_partition_whose_workers_are_behind_refuses_alone(redis_server: Any, keys: Keys) -> None:
    async with open_api(redis_server.url, keys) as api:
        looking = barometer(api, Pressure(backlog=10))
        here, there = (orjson.loads(orjson.dumps(EVENT)) for _ in range(2))
        here["to"]["users"] = ["alice"]
        there["to"]["users"] = [next(u for u in map(str, range(99)) if keys.partition(u) != keys.partition("alice"))]
        for _ in range(10):
            assert (await api.post(here)).status_code == 202
        await looking.look()
        refused = await api.post(here)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        under_a_key = await api.post(here, {"idempotency-key": "k"})
        assert under_a_key.status_code == 503
        assert (await api.post(there)).status_code == 202
        assert api.parts.stats.crowded_partitions == 1
        last = (await api.pipe.ask("XREVRANGE", keys.events(keys.partition("alice")), "+", "-", "COUNT", 1))[0][0]
        await api.pipe.ask("HSET", keys.head(keys.partition("alice")), "acked", last)
        await looking.look()
        assert (await api.post(here)).status_code == 202


async def test_who_was_answered_under_a_key_is_answered_again_whatever_waits(redis_server: Any, keys: Keys) -> None:
    async with open_api(redis_server.url, keys) as api:
        first = await api.post(EVENT, {"idempotency-key": "k"})
        pressure = api.ingest.pressure
        for press, ease in (
            (lambda: pressure.weigh(0.95), lambda: pressure.weigh(0.1)),
            (
                lambda: [pressure.count(p, 1_000_000) for p in range(keys.partitions)],
                lambda: [pressure.count(p, 0) for p in range(keys.partitions)],
            ),
        ):
            press()
            again = await api.post(EVENT, {"idempotency-key": "k"})
            assert (again.status_code, again.json()) == (202, first.json())
            other = await api.post({**EVENT, "type": "another"}, {"idempotency-key": "k"})
            assert other.status_code == 422
            new = await api.post(EVENT, {"idempotency-key": "new"})
            assert (new.status_code, new.headers["retry-after"]) == (503, "5")
            assert (await api.post(EVENT)).status_code == 503
            ease()
        # And it was not begun, or the repeat would be told that it is in progress.
        assert (await api.post(EVENT, {"idempotency-key": "new"})).status_code == 202


@pytest.mark.one_server
async def test_a_redis_that_hangs_is_met_by_a_bounded_number_of_requests(redis_server: Any, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), open_api(url, keys, posts=20) as api:
        assert (await api.post(EVENT)).status_code == 202
        proxy.hold()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(api.post(EVENT)) for _ in range(60)]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            while len(done) < 40:
                done, _ = await asyncio.wait(tasks, timeout=0.01)
            assert {(task.result().status_code, task.result().headers["retry-after"]) for task in done} == {(503, "1")}
            proxy.release()
            codes = [(await task).status_code for task in tasks]
        assert codes.count(202) == 20


async def test_what_a_client_publishes_is_told_to_come_again(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(60), running_node(redis_server.url, keys) as node:
        client = Client(node)
        await client.connect("alice")
        await client.ask({"id": 2, "subscribe": {"channel": "room:1"}})
        node.ingest.pressure.weigh(0.95)
        reply = await client.ask({"id": 3, "publish": {"channel": "room:1", "data": {}}})
        assert reply["error"]["code"] == 111
        assert reply["error"]["temporary"]
        node.ingest.pressure.weigh(0.1)
        assert "error" not in await client.ask({"id": 4, "publish": {"channel": "room:1", "data": {}}})
