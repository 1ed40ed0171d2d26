"""Who is alive, and who works what."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bus.keys import Keys
from bus.registry import Registry, owned_by, owner_of
from tests.conftest import open_pipe
from tests.servers import RedisSite

MEMBERS = st.sets(st.text("abcdef0123456789-", min_size=1, max_size=12), min_size=1, max_size=6)


@given(MEMBERS)
def test_every_partition_has_exactly_one_owner(members: set[str]) -> None:
    owned = [partition for member in members for partition in owned_by(member, members, 64)]
    assert sorted(owned) == list(range(64))


@given(MEMBERS, st.text("xyz", min_size=1, max_size=5))
def test_only_the_partitions_of_the_newcomer_move(members: set[str], newcomer: str) -> None:
    for partition in range(64):
        before, after = owner_of(partition, members), owner_of(partition, members | {newcomer})
        assert after in (before, newcomer)


def test_the_share_of_each_is_fair_enough() -> None:
    members = {f"worker-{n}" for n in range(4)}
    assert all(len(owned_by(member, members, 256)) in range(40, 90) for member in members)


def test_with_nobody_there_is_no_owner() -> None:
    assert owner_of(0, ()) is None
    assert owned_by("a", (), 8) == frozenset()


async def test_members_come_and_go(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        a, b = Registry(pipe, keys.workers, "a", 60), Registry(pipe, keys.workers, "b", 60)
        assert await a.beat() == ("a",)
        assert set(await b.beat()) == {"a", "b"}
        await a.leave()
        assert await b.members() == ("b",)


async def test_who_was_noted_by_a_clock_that_was_ahead_goes_soon_unless_they_live(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        dead, alive = (Registry(pipe, keys.workers, name, 3_600) for name in ("dead", "alive"))
        await dead.beat()
        await Registry(pipe, keys.workers, "young", 5).beat()
        assert set(await Registry(pipe, keys.workers, "young", 5).beat()) == {"dead", "young"}
        ends, young = [float(await pipe.ask("ZSCORE", keys.workers, name)) for name in ("dead", "young")]
        assert 40_000 < ends - young < 60_000
        await alive.beat()
        assert float(await pipe.ask("ZSCORE", keys.workers, "alive")) > ends
