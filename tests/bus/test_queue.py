"""Taking from a partition's stream: as many as are wanted, in order, and fewer where they are large."""

from __future__ import annotations

import pytest

from bus.keys import Keys
from bus.lease import Leases
from bus.queue import Queue
from tests.conftest import open_pipe
from tests.servers import RedisSite

P = 3


@pytest.mark.parametrize(("size", "least", "most"), [(10, 60, 60), (10_000, 20, 30), (60_000, 1, 10)])
async def test_no_more_is_taken_at_a_time_than_redis_reads_quickly(
    any_server: RedisSite, keys: Keys, size: int, least: int, most: int
) -> None:
    async with open_pipe(any_server.url) as pipe:
        lease = (await Leases(pipe, keys, "w", 60).hold([P]))[P]
        assert lease is not None
        added = [(await pipe.ask("XADD", keys.events(P), "*", "e", "x" * size)).decode() for _ in range(70)]
        queue = Queue(pipe, keys, lease, batch=60, keep=60, dead=10)
        new = await queue.take(60)
        assert least <= len(new.entries) <= most
        assert [entry.id for entry in new.entries] == added[: len(new.entries)]
        assert (new.pending, new.newest) == (False, new.entries[-1].id)
        again = await queue.take(60)
        assert again.pending
        assert [entry.id for entry in again.entries] == added[: len(again.entries)]
        assert len(again.entries) == len(new.entries)
        (one,) = (await queue.take(1)).entries
        assert one.id == added[0]


async def test_all_of_it_comes_in_the_end(any_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(any_server.url) as pipe:
        lease = (await Leases(pipe, keys, "w", 60).hold([P]))[P]
        assert lease is not None
        sizes = [10, 100_000, 10, 10, 200_000, *[10] * 100, 50_000, *[1_000] * 30]
        added = [(await pipe.ask("XADD", keys.events(P), "*", "e", "x" * size)).decode() for size in sizes]
        queue, seen = Queue(pipe, keys, lease, batch=50, keep=60, dead=10), []
        while (batch := await queue.take(50)).entries:
            seen += [entry.id for entry in batch.entries]
            await pipe.ask("XACK", keys.events(P), "fanout", *(entry.id for entry in batch.entries))
    assert seen == added
