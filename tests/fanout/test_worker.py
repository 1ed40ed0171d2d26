"""A whole worker on a real Redis: what goes in comes out once, in order, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bus.errors import BusDown, Unfit
from bus.keys import Keys
from bus.pipe import Pipe
from bus.registry import owned_by
from fanout.main import run
from fanout.settings import FanoutSettings
from tests.conftest import open_pipe
from tests.fanout.stand import Node, data_of, running_worker, send, settings_for
from tests.looking import existing, values
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

QUICK = {"worker_ttl": 0.8, "lease_ttl": 8.0}
"""Who comes and goes is noticed soon; no lease is over because this process or Redis waits for a core."""


async def until(true: Callable[[], Awaitable[Any]]) -> float:
    """Ask Redis until it is so; the test's own timeout bounds it. Seconds that it took without those in which this
    process or Redis had to wait for a core: of each look only so many count as one takes with both at work."""
    now, counted = asyncio.get_running_loop().time, 0.0
    looked = now()
    while not await true():  # there is no event for it
        await asyncio.sleep(0.01)
        counted += min(now() - looked, 0.1)
        looked = now()
    return counted


@pytest_asyncio.fixture
async def pipe(redis_server: RedisSite) -> AsyncIterator[Pipe]:
    async with open_pipe(redis_server.url) as pipe:
        yield pipe


@pytest.fixture
def settings(redis_server: RedisSite, keys: Keys) -> FanoutSettings:
    return settings_for(redis_server.url, keys)


async def test_an_event_for_a_topic_reaches_its_log_and_its_nodes(
    pipe: Pipe, keys: Keys, settings: FanoutSettings
) -> None:
    node, deaf = Node(pipe, keys), Node(pipe, keys, "n2")
    await node.listen("news:a")
    await deaf.beat()
    async with running_worker(settings):
        await send(pipe, keys, {"id": "1", "type": "x", "time": "2026-01-02T03:04:05Z", "to": {"topics": ["news:a"]}})
        (entry,) = await node.entries()
    epoch, top, publications = await node.read("news:a", 0)
    assert (top, entry["k"], entry["t"], entry["o"]) == (1, b"t", b"news:a", b"1")
    assert (entry["ep"].decode(), entry["b"]) == (epoch, publications[0])
    assert entry["at"] == b"%d" % (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp() * 1000)
    assert await pipe.ask("EXISTS", keys.node_deliveries("n2")) == 0


async def test_users_of_a_node_share_one_entry(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    users = [f"user {n}" for n in range(20)]
    node = Node(pipe, keys)
    await node.listen(*(f"@{user}" for user in users))
    async with running_worker(settings):
        await send(pipe, keys, {"type": "x", "to": {"users": users}, "title": "hello"})
        (entry,) = await node.entries()
    listed = orjson.loads(entry["u"])
    assert entry["k"] == b"u"
    assert sorted(user for user, _, _ in listed) == sorted(users)
    assert {offset for _, offset, _ in listed} == {1}
    for user, offset, epoch in listed:
        assert (await node.read(f"@{user}", 0))[:2] == (epoch, offset)


async def test_the_order_of_a_topic_is_the_order_of_its_events(
    pipe: Pipe, keys: Keys, settings: FanoutSettings
) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    for number in range(250):
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": number})
    async with running_worker(settings):
        entries = await node.entries(250)
    assert [data_of(entry["b"]) for entry in entries] == list(range(250))
    assert [int(entry["o"]) for entry in entries] == list(range(1, 251))


async def test_poison_is_buried_and_everything_behind_it_flows(
    pipe: Pipe, keys: Keys, settings: FanoutSettings
) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    p, events = keys.partition("news:a"), keys.events(keys.partition("news:a"))
    forged = '{"type":"tocsin.secret","to":{"topics":["news:a"]}}'
    for text in ("not json {secret", '{"to":{}}', "[]", forged, "x" * 70_000):
        await pipe.ask("XADD", events, "*", "e", text)
    await pipe.ask("XADD", events, "*", "other", "secret")
    await pipe.ask("XADD", events, "*", "v", "99", "e", "{}")
    await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": "good"})
    async with running_worker(settings):
        (entry,) = await node.entries()
    assert data_of(entry["b"]) == "good"
    letters = [flat for _, flat in await pipe.ask("XRANGE", keys.dead(p), "-", "+")]
    reasons = [dict(zip(flat[::2], flat[1::2], strict=True))[b"reason"] for flat in letters]
    assert len(reasons) == 7
    assert all(reason and b"secret" not in reason for reason in reasons)


async def test_a_broken_inbox_is_buried_after_two_seconds_and_its_neighbours_get_theirs(
    pipe: Pipe, keys: Keys, settings: FanoutSettings
) -> None:
    await pipe.ask("SET", keys.meta("@alice"), "x")
    await pipe.ask("SET", keys.log("@alice"), "x")
    p, _ = await send(pipe, keys, {"type": "x", "key": "k", "to": {"users": ["alice", "bob"]}})
    await send(pipe, keys, {"type": "x", "key": "k", "to": {"users": ["bob"]}})
    began = asyncio.get_running_loop().time()
    async with running_worker(settings):
        assert await until(lambda: pipe.ask("XLEN", keys.dead(p))) < 6
        assert asyncio.get_running_loop().time() - began > 1.5
        await until(lambda: _is(pipe, 2, "HGET", keys.meta("@bob"), "top"))
    assert await pipe.ask("XLEN", keys.log("@bob")) == 2


async def _is(pipe: Pipe, wanted: int, *command: str) -> bool:
    """Not while Redis is away, which the pipe may notice only when it is asked."""
    with suppress(BusDown):
        return int(await pipe.ask(*command) or 0) == wanted
    return False


async def test_an_ephemeral_event_is_for_who_listens_now(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    async with running_worker(settings):
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "ephemeral": True})
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "ttl": 0})
        found = await node.entries(2)
    assert [entry["o"] for entry in found] == [b"0", b"0"]
    assert (await node.read("news:a", 0))[1:] == (0, [])


async def test_an_event_whose_time_is_over_reaches_nobody(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    events = keys.events(keys.partition("news:a"))
    body = {"type": "x", "to": {"topics": ["news:a"]}, "ttl": 60}
    await pipe.ask("XADD", events, f"{1_600_000_000_000}-1", "e", orjson.dumps(body | {"data": "old"}))
    await send(pipe, keys, body | {"data": "new", "time": "2001-01-01T00:00:00Z"})
    async with running_worker(settings):
        (entry,) = await node.entries()
    assert data_of(entry["b"]) == "new"
    assert (await node.read("news:a"))[1] == 1


async def redis_time(pipe: Pipe) -> float:
    seconds, micro = map(int, await pipe.ask("TIME"))
    return seconds + micro / 1e6


async def test_an_event_for_later_comes_at_its_time(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    async with running_worker(settings):
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": "now"})
        (now,) = await node.entries()
        at = await redis_time(pipe) + 0.5
        text = datetime.fromtimestamp(at, UTC).isoformat()
        p, origin = await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "at": text, "data": "later"})
        (later,) = await node.entries()
        assert await redis_time(pipe) >= at - 0.001
    assert [data_of(entry["b"]) for entry in (now, later)] == ["now", "later"]
    assert orjson.loads(b"{" + later["b"] + b"}")["data"]["id"] == f"{origin}.{p}"
    assert await pipe.ask("ZCARD", keys.timers(p)) == 0


async def test_an_event_for_later_survives_all_workers(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    event = {"type": "x", "to": {"topics": ["news:a"]}, "at": "2099-01-01T00:00:00Z", "id": "1"}
    async with running_worker(settings):
        p, _ = await send(pipe, keys, event)
        await until(lambda: _is(pipe, 1, "ZCARD", keys.timers(p)))
    ((member, _),) = [await pipe.ask("ZRANGE", keys.timers(p), 0, -1, "WITHSCORES")]
    await pipe.ask("ZADD", keys.timers(p), 1, member)  # 2099 has come
    async with running_worker(settings):
        await node.entries()


async def test_a_dead_nodes_route_goes_when_it_has_been_silent_for_long(
    pipe: Pipe, keys: Keys, redis_server: RedisSite
) -> None:
    dead, alive = Node(pipe, keys, "dead"), Node(pipe, keys)
    await dead.listen("news:a")
    await alive.listen("news:a")
    await pipe.ask("DEL", keys.node_alive("dead"))
    async with running_worker(settings_for(redis_server.url, keys, routes_ttl=0.05)):
        for _ in range(2):
            await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}})
            await alive.entries()
            assert await pipe.ask("EXISTS", keys.node_deliveries("dead")) == 0
            await asyncio.sleep(0.06)  # the silence itself
        await until(lambda: _gone(pipe, keys.routes("news:a"), "dead"))
    assert await pipe.ask("HKEYS", keys.routes("news:a")) == [b"n1"]


async def _gone(pipe: Pipe, key: str, field: str) -> bool:
    return not int(await pipe.ask("HEXISTS", key, field))


async def test_a_destroyed_group_is_made_again_while_working(pipe: Pipe, keys: Keys, settings: FanoutSettings) -> None:
    node = Node(pipe, keys)
    await node.listen("news:a")
    async with running_worker(settings):
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": 1})
        await node.entries()
        p = keys.partition("news:a")
        await until(lambda: _acked(pipe, keys, p))
        await pipe.ask("XGROUP", "DESTROY", keys.events(p), "fanout")
        await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": 2})
        (entry,) = await node.entries()
    assert data_of(entry["b"]) == 2
    assert (await node.read("news:a"))[1] == 2


async def _acked(pipe: Pipe, keys: Keys, p: int) -> bool:
    return not int((await pipe.ask("XPENDING", keys.events(p), "fanout"))[0])


async def test_workers_share_join_and_leave(pipe: Pipe, keys: Keys, redis_server: RedisSite) -> None:
    settings = settings_for(redis_server.url, keys, **QUICK)
    node = Node(pipe, keys)
    topics = [f"news:{n}" for n in range(30)]
    await node.listen(*topics)
    sent = {topic: 0 for topic in topics}

    async def some() -> None:
        for topic in topics:
            await send(pipe, keys, {"type": "x", "to": {"topics": [topic]}, "data": sent[topic]})
            sent[topic] += 1

    async def owners() -> dict[str, int]:
        held = await values(pipe, *(keys.lease(p) for p in range(keys.partitions)))
        names = [value.split(b" ")[0].decode() for value in held if value]
        return {name: names.count(name) for name in names}

    async def spread(workers: int) -> bool:
        found = await owners()
        members = [m.decode() for m in await pipe.script("register", (keys.workers,), (1,))]
        fair = {m: len(owned_by(m, members, keys.partitions)) for m in members}
        return len(members) == workers and found == {m: n for m, n in fair.items() if n}

    async with running_worker(settings):
        await until(lambda: spread(1))
        await some()
        async with running_worker(settings):
            await some()
            await until(lambda: spread(2))
            await some()
        await some()
        await until(lambda: spread(1))
        await some()
        entries = await _each_offset(node, 5 * len(topics))
    for topic in topics:
        mine = [data_of(entry["b"]) for entry in entries if entry["t"].decode() == topic]
        assert mine == list(range(5))
        assert [data_of(publication) for publication in (await node.read(topic, 0))[2]] == list(range(5))
    assert await pipe.ask("ZCARD", keys.workers) == 0  # all have said goodbye
    assert await existing(pipe, *(keys.lease(p) for p in range(keys.partitions))) == 0


async def _each_offset(node: Node, count: int) -> list[dict[str, bytes]]:
    """So many entries of the node's stream, without what came again, as a node reads it: what was under way when a
    partition moved is routed once more, under the offset that it has."""
    seen: dict[tuple[bytes, bytes], dict[str, bytes]] = {}
    while len(seen) < count:
        for entry in await node.entries():
            seen.setdefault((entry["t"], entry["o"]), entry)
    return list(seen.values())


async def test_redis_may_be_full_for_a_while(keys: Keys, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        async with asyncio.timeout(60), open_pipe(redis.url) as pipe:
            node = Node(pipe, keys)
            await node.listen("news:a")
            async with running_worker(settings_for(redis.url, keys)):
                await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": 0})
                await node.entries()
                for number in range(1, 4):
                    await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": number})
                    await pipe.ask("CONFIG", "SET", "maxmemory", 1)
                    await asyncio.sleep(0.3)  # it stays full for a while
                    await pipe.ask("CONFIG", "SET", "maxmemory", 0)
                assert [data_of(entry["b"]) for entry in await node.entries(3)] == [1, 2, 3]
            assert await pipe.ask("XLEN", keys.dead(keys.partition("news:a"))) == 0


async def test_redis_may_restart_in_mid_stream(keys: Keys, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", options={"appendfsync": "always"}) as redis:
        async with asyncio.timeout(60), open_pipe(redis.url) as pipe:
            node = Node(pipe, keys)
            await node.listen("news:a")
            async with running_worker(settings_for(redis.url, keys)):
                for number in range(300):
                    await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": number})
                redis.kill()
                await asyncio.to_thread(redis.start)
                await until(lambda: _is(pipe, 300, "HGET", keys.meta("news:a"), "top"))
                await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}, "data": 300})
                await until(lambda: _is(pipe, 301, "HGET", keys.meta("news:a"), "top"))
            log = await pipe.ask("XRANGE", keys.log("news:a"), "-", "+")
            assert len(log) == 100  # the default namespace keeps so many
            _, _, publications = await node.read("news:a", 201)
            assert [data_of(publication) for publication in publications] == list(range(201, 301))


async def test_a_worker_waits_for_a_redis_that_is_not_there_yet(keys: Keys, tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "redis")
    async with asyncio.timeout(60), running_worker(settings_for(redis.url, keys)):
        await asyncio.to_thread(redis.start)
        try:
            async with open_pipe(redis.url) as pipe:
                node = Node(pipe, keys)
                await node.listen("news:a")
                await send(pipe, keys, {"type": "x", "to": {"topics": ["news:a"]}})
                await node.entries()
        finally:
            redis.stop()


async def test_a_worker_stops_though_redis_is_away(keys: Keys, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        async with asyncio.timeout(60):
            async with open_pipe(redis.url) as pipe, running_worker(settings_for(redis.url, keys)):
                await until(lambda: pipe.ask("EXISTS", keys.lease(0)))
                redis.kill()
            async with running_worker(settings_for(redis.url, keys)):
                pass


async def test_another_number_of_partitions_is_refused(pipe: Pipe, keys: Keys, redis_server: RedisSite) -> None:
    await pipe.ask("HSET", keys.installation, "partitions", 9)
    with pytest.raises(Unfit, match="9 partitions"):
        await run(settings_for(redis_server.url, keys), asyncio.Event())
