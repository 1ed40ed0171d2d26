"""Receipts in Redis: merged as `bus.ranges` merges, counted once per event and person, and refused where they cannot be
meant; and what a route and a leave say of when somebody was last seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.errors import Refused
from bus.keys import Keys
from bus.pipe import Arg, Pipe
from bus.ranges import Ranges, merge, parse, text, without
from bus.trail import Kind, decode
from tests.conftest import open_pipe
from tests.looking import existing
from tests.servers import RedisSite

EPOCH = "e1"
NEVER = 10_000


class Bench:
    """One partition's people, and the scripts about them."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self.pipe, self.keys, self.ask = pipe, keys, pipe.ask

    async def inbox(self, user: str, *entries: str, top: int | None = None) -> None:
        """An inbox with these references; an empty one stands for a state publication."""
        log, meta = self.keys.log("@" + user), self.keys.meta("@" + user)
        for offset, ref in enumerate(entries, 1):
            fields = ("b", ref) if ref else ("b", f"tocsin/{offset}", "s", "1")
            await self.ask("XADD", log, f"{offset}-0", *fields)
        if entries:
            await self.ask("EXPIRE", log, 3_600)
        await self.ask("HSET", meta, "epoch", EPOCH, "top", len(entries) if top is None else top)

    async def note(self, *people: tuple[str, Ranges, Ranges], epoch: str = EPOCH, most: int = 32) -> list[Any]:
        names: list[str] = []
        p = self.keys.partition("@" + people[0][0])
        args: list[Arg] = [self.keys.counts_prefix(p), self.keys.body_prefix(p), 4_000, most]
        for user, written, acked in people:
            names += (self.keys.meta("@" + user), self.keys.log("@" + user), self.keys.trail(user))
            args += (epoch, text(written), text(acked))
        return list(await self.pipe.script("receipts", names, args))

    async def acked(self, user: str) -> Ranges:
        return parse(await self.ask("HGET", self.keys.meta("@" + user), "acked"))

    async def counts(self, user: str, ref: str) -> dict[bytes, bytes]:
        flat = await self.ask("HGETALL", self.keys.counts(self.keys.partition("@" + user), ref))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def trail(self, user: str) -> list[tuple[str, Kind]]:
        entries = await self.ask("XRANGE", self.keys.trail(user), "-", "+")
        traces = [decode(id, flat) for id, flat in entries]
        return [(trace.ref, trace.kind) for trace in traces if trace is not None]


@pytest_asyncio.fixture
async def bench(any_server: RedisSite, keys: Keys) -> AsyncIterator[Bench]:
    async with open_pipe(any_server.url) as pipe:
        yield Bench(pipe, keys)


async def test_each_event_is_counted_once_whoever_acknowledges_it(bench: Bench) -> None:
    await bench.inbox("ann", "s/a", "s/b", "", "s/c")
    assert await bench.note(("ann", ((1, 2),), ((1, 1),))) == [[2, 1]]
    assert await bench.note(("ann", ((2, 4),), ((1, 2),))) == [[2, 1]]
    assert await bench.note(("ann", ((1, 4),), ((1, 2),))) == [[0, 0]]
    assert await bench.counts("ann", "s/a") == {b"written": b"1", b"acked": b"1"}
    assert await bench.counts("ann", "s/c") == {b"written": b"1"}
    assert await bench.ask("HGET", bench.keys.meta("@ann"), "written") == b"4"
    assert await bench.acked("ann") == ((1, 2),)
    assert await bench.trail("ann") == [
        ("s/a", Kind.WRITTEN),
        ("s/b", Kind.WRITTEN),
        ("s/a", Kind.ACKED),
        ("s/c", Kind.WRITTEN),
        ("s/b", Kind.ACKED),
    ]


async def test_what_is_kept_of_it_goes_with_the_inbox(bench: Bench) -> None:
    await bench.inbox("ann", "s/a")
    await bench.note(("ann", ((1, 1),), ((1, 1),)))
    for key in (bench.keys.trail("ann"), bench.keys.counts(bench.keys.partition("@ann"), "s/a")):
        assert 3_500 < await bench.ask("TTL", key) <= 3_600
    await bench.ask("EXPIRE", bench.keys.trail("ann"), NEVER)
    await bench.inbox("ann")
    await bench.ask("HSET", bench.keys.meta("@ann"), "acked", "")
    await bench.note(("ann", (), ((1, 1),)))
    assert await bench.ask("TTL", bench.keys.trail("ann")) > 3_600


async def test_another_epoch_or_what_is_not_there_yet_is_refused(bench: Bench) -> None:
    await bench.inbox("ann", "s/a")
    assert await bench.note(("ann", (), ((1, 1),)), epoch="e0") == [[-1, b"epoch"]]
    assert await bench.note(("ann", (), ((1, 2),))) == [[-1, b"top"]]
    assert await bench.note(("ann", ((1, 2),), ())) == [[-1, b"top"]]
    assert await bench.note(("bob", (), ((1, 1),))) == [[-1, b"epoch"]]
    assert await bench.acked("ann") == ()
    assert await existing(bench.pipe, bench.keys.trail("ann"), bench.keys.meta("@bob")) == 0


async def test_a_position_that_lags_behind_its_log_refuses_nothing(bench: Bench) -> None:
    await bench.inbox("ann", "s/a", "s/b", top=1)
    assert await bench.note(("ann", (), ((1, 2),))) == [[0, 2]]
    assert await bench.note(("ann", (), ((3, 3),))) == [[-1, b"top"]]


async def test_what_was_trimmed_is_noted_and_counts_nothing(bench: Bench) -> None:
    await bench.inbox("ann", "s/a", "s/b")
    await bench.ask("XDEL", bench.keys.log("@ann"), "1-0")
    assert await bench.note(("ann", (), ((1, 2),))) == [[0, 2]]
    assert await bench.counts("ann", "s/a") == {}
    assert await bench.acked("ann") == ((1, 2),)


async def test_of_what_was_withdrawn_nothing_is_counted(bench: Bench) -> None:
    await bench.inbox("ann", "s/a", "s/b")
    await bench.ask("HSET", bench.keys.body(bench.keys.partition("@ann"), "s/a"), "w", "1")
    assert await bench.note(("ann", ((1, 2),), ((1, 2),))) == [[2, 2]]
    assert await bench.counts("ann", "s/a") == {}
    assert await bench.trail("ann") == [("s/b", Kind.WRITTEN), ("s/b", Kind.ACKED)]
    assert await bench.acked("ann") == ((1, 2),)


async def test_a_persons_broken_keys_are_that_persons_own_trouble(bench: Bench) -> None:
    partition = bench.keys.partition("@ann")
    other = next(f"u{n}" for n in range(1_000) if bench.keys.partition(f"@u{n}") == partition)
    await bench.inbox(other, "s/a")
    await bench.ask("SET", bench.keys.meta("@ann"), "x")
    found = await bench.note(("ann", (), ((1, 1),)), (other, (), ((1, 1),)))
    assert found == [[-1, b"WRONGTYPE"], [0, 1]]


async def test_a_full_redis_notes_nothing_and_says_so(any_server: RedisSite, bench: Bench) -> None:
    await bench.inbox("ann", "s/a")
    await bench.ask("CONFIG", "SET", "maxmemory", "1mb")
    try:
        with pytest.raises(Refused) as refused:
            await bench.note(("ann", ((1, 1),), ((1, 1),)))
        assert refused.value.code == "OOM"
    finally:
        await bench.ask("CONFIG", "SET", "maxmemory", "0")
    assert await bench.note(("ann", ((1, 1),), ((1, 1),))) == [[1, 1]]


pairs = st.lists(st.tuples(st.integers(1, 90), st.integers(0, 9)).map(lambda p: (p[0], p[0] + p[1])), max_size=25)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs, pairs, st.integers(1, 6))
async def test_merges_as_the_pure_twin_does(
    bench: Bench, known: list[tuple[int, int]], added: list[tuple[int, int]], most: int
) -> None:
    before, new = merge(known, ()), merge(added, ())
    await bench.inbox("ann", top=100)
    await bench.ask("HSET", bench.keys.meta("@ann"), "acked", text(before))
    [[_, count]] = await bench.note(("ann", (), new), most=most)
    fresh = without(new, before)
    assert count == sum(last - first + 1 for first, last in fresh)
    assert await bench.acked("ann") == (merge(before, new, most) if fresh else before)


# Routes ----------------------------------------------------------------------------------------------------------


async def now(bench: Bench) -> int:
    seconds, micros = await bench.ask("TIME")
    return int(seconds) * 1000 + int(micros) // 1000


async def join(bench: Bench, topic: str) -> Any:
    log, meta, routes, bodies = bench.keys.listening(topic)
    return await bench.pipe.script("join", (log, meta, routes), ("n1", "new", "0", 0, 300, bodies, 600, 600))


async def test_a_route_says_when_it_was_refreshed(bench: Bench) -> None:
    before = await now(bench)
    await join(bench, "@ann")
    assert before <= int(await bench.ask("HGET", bench.keys.routes("@ann"), "n1")) <= await now(bench)


async def test_a_leave_says_when_somebody_was_last_seen(bench: Bench) -> None:
    routes, meta = bench.keys.routes("@ann"), bench.keys.meta("@ann")
    await join(bench, "@ann")
    before = await now(bench)
    assert await bench.pipe.script("leave", (routes, meta), ("n1",)) == 1
    assert before <= int(await bench.ask("HGET", meta, "last_seen")) <= await now(bench)
    assert await bench.ask("EXISTS", routes) == 0
    assert await bench.pipe.script("leave", (routes, meta), ("n1",)) == 0


async def test_who_has_no_inbox_leaves_none_behind(bench: Bench) -> None:
    routes, meta = bench.keys.routes("@ann"), bench.keys.meta("@ann")
    await bench.pipe.script("leave", (routes, meta), ("n1",))
    assert await bench.ask("EXISTS", routes, meta) == 0


@pytest.mark.parametrize("script", ["join", "history"])
async def test_an_inbox_made_anew_has_nothing_unread(bench: Bench, script: str) -> None:
    marks = (bench.keys.unread("ann"), bench.keys.archived("ann"))
    for key in marks:
        await bench.ask("ZADD", key, 1, 1)
    log, meta, _, bodies = bench.keys.listening("@ann")
    if script == "join":
        await join(bench, "@ann")
    else:
        await bench.pipe.script("history", (log, meta), ("new", "+", "1", 1, bodies, 600))
    assert await bench.ask("EXISTS", *marks) == 0
