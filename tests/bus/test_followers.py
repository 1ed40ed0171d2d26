"""Followers on a real Redis: counted, paged, marked in the topic before they are noted, and gone without a trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.errors import Refused
from bus.keys import Keys
from bus.people.followers import CHUNK, TOGETHER, Followers
from bus.pipe import Pipe
from tests.conftest import open_pipe
from tests.looking import names
from tests.servers import RedisSite

TOPIC = "news:sport"


@asynccontextmanager
async def following(server: RedisSite, keys: Keys) -> AsyncIterator[tuple[Followers, Pipe]]:
    async with asyncio.timeout(60), open_pipe(server.url) as pipe:
        yield Followers(pipe, keys), pipe


async def pages(followers: Followers, limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await followers.page(TOPIC, cursor, limit)
        assert page is not None
        assert len(page.users) <= limit
        found += page.users
        if (cursor := page.cursor) is None:
            return found


async def test_followers_come_and_go(any_server: RedisSite, keys: Keys) -> None:
    async with following(any_server, keys) as (followers, pipe):
        assert await followers.follow(TOPIC, ["alice", "bob", "alice"]) == 2
        assert await followers.follow(TOPIC, ["bob", "carol"]) == 1
        await followers.follow("news:art", ["alice"])
        assert await followers.topics("alice") == ("news:art", TOPIC)
        assert await followers.count(TOPIC) == 3
        assert await pipe.ask("HGET", keys.meta(TOPIC), "followed") == b"1"
        assert await pipe.ask("ZRANGE", keys.members(TOPIC, keys.partition("alice")), 0, -1) != []

        assert await followers.unfollow(TOPIC, ["alice", "nobody"]) == 1
        assert await followers.topics("alice") == ("news:art",)
        assert await pipe.ask("HGET", keys.meta(TOPIC), "followed") == b"1"
        assert await followers.unfollow(TOPIC, ["bob", "carol"]) == 2
        await followers.unfollow("news:art", ["alice"])
        assert [name async for name in left(pipe, keys)] == []


async def test_many_at_once_leave_time_for_others(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [0]

    def counted(self: Keys, user: str) -> str:
        made[-1] += 1
        return follows(self, user)

    async def turns() -> None:
        while True:
            made.append(0)
            await asyncio.sleep(0)

    follows = Keys.follows
    monkeypatch.setattr(Keys, "follows", counted)
    users = [f"user-{n}" for n in range(12_000)]
    async with following(redis_server, keys) as (followers, _), asyncio.TaskGroup() as group:
        turning = group.create_task(turns())
        assert await followers.follow(TOPIC, users) == len(users)
        assert await followers.unfollow(TOPIC, users) == len(users)
        turning.cancel()
    assert sum(made) == 2 * len(users)
    assert max(made) <= TOGETHER * CHUNK


async def left(pipe: Pipe, keys: Keys) -> AsyncIterator[bytes]:
    for name in await names(pipe, keys):
        yield name


async def test_many_at_once_and_page_by_page(any_server: RedisSite, keys: Keys) -> None:
    users = [f"user{n:05}" for n in range(12_000)]
    async with following(any_server, keys) as (followers, _):
        assert await followers.follow(TOPIC, users) == 12_000
        for limit in (999, 5_000, 12_000, 20_000):
            found = await pages(followers, limit)
            assert sorted(found) == users
        assert await followers.unfollow(TOPIC, users) == 12_000
        assert await pages(followers, 10) == []


@pytest.mark.parametrize("cursor", ["", "x", "8:alice", "-1:alice", "٣:alice", "99999:a"])
async def test_a_cursor_that_is_none_of_ours(any_server: RedisSite, keys: Keys, cursor: str) -> None:
    async with following(any_server, keys) as (followers, _):
        assert await followers.page(TOPIC, cursor, 10) is None


async def test_who_comes_while_the_last_one_leaves_is_marked(any_server: RedisSite, keys: Keys) -> None:
    async with following(any_server, keys) as (followers, pipe):
        for _ in range(30):
            await followers.follow(TOPIC, ["alice"])
            async with asyncio.TaskGroup() as group:
                group.create_task(followers.unfollow(TOPIC, ["alice"]))
                group.create_task(followers.follow(TOPIC, ["bob"]))
            assert await pipe.ask("HGET", keys.meta(TOPIC), "followed") == b"1"
            await followers.unfollow(TOPIC, ["bob"])


async def test_a_refusal_of_redis_is_raised(any_server: RedisSite, keys: Keys) -> None:
    async with following(any_server, keys) as (followers, pipe):
        await pipe.ask("SET", keys.members(TOPIC, keys.partition("alice")), "text")
        with pytest.raises(Refused):
            await followers.follow(TOPIC, ["alice"])


async def test_that_there_are_followers_outlives_all_else_of_a_topic(any_server: RedisSite, keys: Keys) -> None:
    async with following(any_server, keys) as (followers, pipe):
        log, meta, routes, bodies = keys.listening(TOPIC)
        join = ([log, meta, routes], ["n1", "epoch", "0", 0, 10, bodies, 60, 60])
        await pipe.script("join", *join)
        assert await pipe.ask("TTL", meta) > 0
        await followers.follow(TOPIC, ["alice"])
        assert await pipe.ask("TTL", meta) == -1
        await pipe.script("join", *join)
        await pipe.script("history", [log, meta], ["epoch", "-", "0", 0, bodies, 60])
        assert await pipe.ask("TTL", meta) == -1
        await followers.unfollow(TOPIC, ["alice"])
        assert await pipe.ask("TTL", meta) > 60
        assert await pipe.ask("HGET", meta, "epoch") == b"epoch"
