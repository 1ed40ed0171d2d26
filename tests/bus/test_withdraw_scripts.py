"""What the scripts of a withdrawal promise in their headers, on a real Redis 7 and a real Redis 6.2."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bus.errors import Refused
from bus.keys import Keys, escape
from bus.pipe import Arg, Pipe
from bus.trail import Kind, decode
from tests.conftest import open_pipe
from tests.servers import RedisSite

REF = "4.shop/a:1"
DAY = 86_400_000


class Bench:
    """The scripts with their keys filled in; everything in the partition of alice."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self.pipe, self.keys, self.ask = pipe, keys, pipe.ask
        self.p = keys.partition("alice")

    async def give(self, user: str = "alice", *, content: dict[str, Any] | None = None, ref: str = REF) -> int:
        """What publish.lua leaves of a notification; its offset."""
        keys, topic = self.keys, f"@{user}"
        offset = int(await self.ask("HINCRBY", keys.meta(topic), "top", 1))
        body = orjson.dumps(content or {"id": "a:1", "source": "shop", "type": "t", "body": "secret"})
        await self.ask("HSET", keys.meta(topic), "epoch", "ep")
        await self.ask("HSET", keys.body(self.p, ref), "pub", '"data":"secret"', "e", body)
        await self.ask("EXPIRE", keys.body(self.p, ref), 3600)
        await self.ask("XADD", keys.log(topic), f"{offset}-0", "b", escape(ref))
        await self.ask("HSET", keys.seen(self.p, ref), topic, offset)
        await self.ask("ZADD", keys.unread(user), offset, offset)
        return offset

    async def withdraw(self, ttl: int = DAY, ref: str = REF, p: int | None = None) -> list[int]:
        k, p = self.keys, self.p if p is None else p
        names = (k.withdrawn(p, ref), k.body(p, ref), k.seen(p, ref), k.bulk(p), k.timers(p), k.counts(p, ref))
        return list(await self.pipe.script("withdraw", names, (ref, ttl)))

    async def recall(self, *people: tuple[str, int], vias: str = "live push email") -> list[list[Any]]:
        k = self.keys
        names = [k.seen(self.p, "told " + REF), k.counts(self.p, REF), k.timers(self.p)]
        args: list[Arg] = [escape(REF), 3600, k.body_prefix(self.p), "2026-01-01T00:00:00.000Z", 3600, 100, 4000, vias]
        for user, offset in people:
            topic = f"@{user}"
            names += [k.log(topic), k.meta(topic), k.routes(topic), k.unread(user), k.archived(user), k.trail(user)]
            args += [topic, escape(user), offset, f"id{user}"]
        return list(await self.pipe.script("recall", names, args))

    async def put_off(self, at: int, member: str = "event\n5-0\nshop\n{}", first: str = "5-0") -> int:
        k = self.keys
        names = (k.timers(self.p), k.withdrawn(self.p, REF), k.body(self.p, REF))
        return int(await self.pipe.script("put_off", names, (at, member, first, at + 1000, DAY)))

    async def body(self) -> dict[bytes, bytes]:
        flat = await self.ask("HGETALL", self.keys.body(self.p, REF))
        return dict(zip(flat[::2], flat[1::2], strict=True))

    async def kinds(self, user: str) -> list[tuple[Kind, str, str]]:
        found = await self.ask("XRANGE", self.keys.trail(user), "-", "+")
        traces = [decode(*entry) for entry in found]
        return [(t.kind, t.channel, t.reason) for t in traces if t is not None]


@pytest_asyncio.fixture
async def bench(any_server: RedisSite, keys: Keys) -> AsyncIterator[Bench]:
    async with open_pipe(any_server.url) as pipe:
        yield Bench(pipe, keys)


# withdraw --------------------------------------------------------------------------------------------------------


async def test_what_is_withdrawn_leaves_a_tombstone_and_nothing_of_its_content(bench: Bench) -> None:
    await bench.give(content={"id": "a:1", "source": "shop", "type": "t", "body": "secret", "collapse_key": "c"})
    await bench.ask("HSET", bench.keys.body(bench.p, REF), "l", "[]", "x", 5_000)
    assert await bench.withdraw() == [1, 1, 5_000]
    left = {"id": "a:1", "source": "shop", "type": "t", "collapse_key": "c"}
    body = await bench.body()
    assert {**body, b"c": orjson.loads(body[b"c"])} == {b"w": b"1", b"l": b"[]", b"x": b"5000", b"c": left}
    found = await bench.ask("XRANGE", bench.keys.bulk(bench.p), "-", "+")
    assert [flat for _, flat in found] == [[b"k", b"withdraw", b"e", REF.encode()]]


async def test_a_second_withdrawal_begins_no_second_walk(bench: Bench) -> None:
    await bench.give()
    assert [(await bench.withdraw())[0], (await bench.withdraw())[0]] == [1, 0]
    assert await bench.ask("XLEN", bench.keys.bulk(bench.p)) == 1


async def test_where_nobody_had_it_only_the_mark_is_left(bench: Bench) -> None:
    assert await bench.withdraw(60_000) == [1, 0, 0]
    assert await bench.ask("EXISTS", bench.keys.body(bench.p, REF), bench.keys.bulk(bench.p)) == 0
    assert 0 < await bench.ask("PTTL", bench.keys.withdrawn(bench.p, REF)) <= 60_000


async def test_the_mark_outlives_what_points_to_the_event(bench: Bench) -> None:
    await bench.give()
    await bench.withdraw(1_000)
    assert await bench.ask("PTTL", bench.keys.withdrawn(bench.p, REF)) > 3_500_000


async def test_a_topic_is_no_recipient(bench: Bench) -> None:
    await bench.give()
    await bench.ask("HSET", bench.keys.seen(bench.p, REF), "news:a", 1)
    await bench.ask("HSET", bench.keys.counts(bench.p, REF), "topics", 1)
    assert (await bench.withdraw())[1] == 1


# put_off ---------------------------------------------------------------------------------------------------------


async def test_a_scheduled_event_that_is_withdrawn_is_not_kept(bench: Bench) -> None:
    assert await bench.put_off(2_000_000_000_000) == 1
    assert await bench.put_off(2_000_000_000_000, "event\n6-0\nshop\n{}", "6-0") == 1
    await bench.put_off(2_000_000_000_000)  # a re-run
    assert await bench.ask("ZCARD", bench.keys.timers(bench.p)) == 2
    assert await bench.withdraw() == [1, 0, 2_000_000_001_000]
    assert await bench.ask("ZRANGE", bench.keys.timers(bench.p), 0, -1) == [b"event\n6-0\nshop\n{}"]
    assert set(await bench.body()) == {b"w", b"x"}


async def test_an_event_withdrawn_before_it_was_put_off_never_is(bench: Bench) -> None:
    await bench.withdraw()
    assert await bench.put_off(2_000_000_000_000) == 0
    assert await bench.ask("EXISTS", bench.keys.timers(bench.p), bench.keys.body(bench.p, REF)) == 0


# recall ----------------------------------------------------------------------------------------------------------


async def test_people_are_told_and_nothing_waits_any_more(bench: Bench) -> None:
    k = bench.keys
    assert await bench.give(ref="1.s/other") == 1
    assert await bench.give() == 2
    await bench.ask("ZADD", k.timers(bench.p), 9, f"step\n{escape(REF)}\nalice\n1", 9, f"step\n{escape(REF)}\nbob\n1")
    await bench.ask("HSET", k.routes("@alice"), "n1", "1")
    await bench.ask("HSET", k.meta("@alice"), "seen", "1")
    await bench.withdraw()
    ((offset, epoch, publication, node),) = await bench.recall(("alice", 2))
    assert (offset, epoch, node) == (3, b"ep", b"n1")
    assert orjson.loads(b"{" + publication + b"}")["data"] == {
        "id": "idalice",
        "type": "tocsin.state",
        "data": {"withdrawn": [2], "unread_count": 1, "unseen_count": 0},
        "created_at": "2026-01-01T00:00:00.000Z",
    }
    assert await bench.ask("ZRANGE", k.unread("alice"), 0, -1) == [b"1"]
    assert await bench.ask("ZRANGE", k.timers(bench.p), 0, -1) == [f"step\n{escape(REF)}\nbob\n1".encode()]
    assert await bench.kinds("alice") == [(Kind.CANCELLED, "push", "withdrawn"), (Kind.WITHDRAWN, "", "")]
    entry = (await bench.ask("XREVRANGE", k.log("@alice"), "+", "-", "COUNT", 1))[0]
    assert entry == [b"3-0", [b"b", b"tocsin/idalice", b"s", b"1"]]
    assert await bench.ask("HMGET", k.counts(bench.p, REF), "push:cancelled", "withdrawn") == [b"1", b"1"]
    for key in (k.counts(bench.p, REF), k.trail("alice"), k.seen(bench.p, "told " + REF)):
        assert await bench.ask("TTL", key) > 0


async def test_nobody_is_told_twice(bench: Bench) -> None:
    await bench.give()
    await bench.ask("HSET", bench.keys.routes("@alice"), "n1", "1")
    await bench.withdraw()
    first = await bench.recall(("alice", 1))
    assert await bench.recall(("alice", 1)) == first
    assert await bench.ask("XLEN", bench.keys.log("@alice")) == 2
    assert len(await bench.kinds("alice")) == 1
    await bench.ask("DEL", bench.keys.meta("@alice"))  # the inbox was lost meanwhile
    assert await bench.recall(("alice", 1)) == [[]]


async def test_a_position_that_lags_behind_its_log_is_no_hindrance(bench: Bench) -> None:
    await bench.give()
    await bench.ask("HSET", bench.keys.meta("@alice"), "top", "0")
    await bench.withdraw()
    assert (await bench.recall(("alice", 1)))[0][0] == 2


async def test_who_has_it_not_in_the_inbox_gets_a_trail_alone(bench: Bench) -> None:
    await bench.withdraw()
    assert await bench.recall(("alice", 0)) == [[]]
    assert await bench.ask("EXISTS", bench.keys.log("@alice")) == 0
    assert await bench.kinds("alice") == [(Kind.WITHDRAWN, "", "")]


async def test_a_broken_inbox_is_passed_over(bench: Bench) -> None:
    await bench.give()
    bob = next(f"bob{n}" for n in range(1_000) if bench.keys.partition(f"bob{n}") == bench.p)
    await bench.ask("SET", bench.keys.meta(f"@{bob}"), "x")
    await bench.withdraw()
    answers = await bench.recall((bob, 1), ("alice", 1))
    assert [answer[:1] for answer in answers] == [[], [2]]


# walk and trail --------------------------------------------------------------------------------------------------


async def test_a_walk_goes_on_where_it_was_left(bench: Bench) -> None:
    k, p = bench.keys, bench.p
    await bench.pipe.script("lease", (k.lease(p), k.head(p)), ("w", 60_000))
    await bench.ask("ZADD", k.members("news:a", p), 0, "a", 0, "b", 0, "c")
    keys = (k.lease(p), k.bulk_head(p), k.members("news:a", p))

    async def step(entry: str, done: str | None, most: int = 2, fence: int = 1) -> list[bytes]:
        args = ("w", fence, entry, int(done is not None), done or "", most)
        return list(await bench.pipe.script("walk", keys, args))

    assert await step("1-0", None) == [b"a", b"b"]
    assert await step("1-0", None) == [b"a", b"b"]  # the worker crashed before it was done with them
    assert await step("1-0", "b") == [b"c"]
    assert await step("1-0", None) == [b"c"]
    assert await step("1-0", "c") == []
    assert await step("2-0", None) == [b"a", b"b"]  # another walk begins at the beginning
    with pytest.raises(Refused, match=r"^FENCED"):
        await step("2-0", "b", fence=9)


async def test_the_trail_of_one_event_is_read_page_by_page(bench: Bench) -> None:
    trail = bench.keys.trail("alice")
    ids = []
    for number in range(5):
        ref = "1.s/a" if number % 2 == 0 else "1.s/b"
        ids.append(await bench.ask("XADD", trail, f"{number + 1}-0", "e", ref, "k", "read"))

    async def page(back: bytes, most: int) -> tuple[bytes, list[bytes]]:
        last, *found = await bench.pipe.script("trail", (trail,), ("1.s/a", back, most))
        return last, [entry for entry, _ in found]

    assert await page(b"+", 3) == (ids[2], [ids[4], ids[2]])
    assert await page(b"(" + ids[2], 3) == (b"", [ids[0]])
    assert await page(b"+", 5) == (ids[0], [ids[4], ids[2], ids[0]])
    assert await page(b"(" + ids[0], 5) == (b"", [])


# What is looked for, and what was under way --------------------------------------------------------------------------


async def test_an_event_is_found_where_it_waits_and_where_it_is_buried(bench: Bench) -> None:
    k, p = bench.keys, bench.p
    names = (k.events(p), k.head(p), k.dead(p))
    assert await bench.pipe.script("find_event", names, ("a:1", 10)) == [[], []]
    ids = [await bench.ask("XADD", k.events(p), "*", "e", f'{{"id":"a:{n}"}}') for n in (1, 2, 1)]
    await bench.ask("HSET", k.head(p), "acked", ids[0])
    await bench.ask("XADD", k.dead(p), "*", "reason", "why", "e", '{"id":"a:1"}')
    found = [b"e", b'{"id":"a:1"}']
    assert await bench.pipe.script("find_event", names, ("a:1", 10)) == [[found], [[b"reason", b"why", *found]]]
    for n in range(10):  # entries are looked at ten at a time
        await bench.ask("XADD", k.events(p), "*", "e", f'{{"id":"b:{n}"}}')
    assert await bench.pipe.script("find_event", names, ("a:2", 1)) == [[], []]
    assert await bench.pipe.script("find_event", names, ("a:2", 20)) == [[[b"e", b'{"id":"a:2"}']], []]


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_push_that_was_under_way_is_replaced_as_it_is_settled(bench: Bench, withdrawn: bool) -> None:
    k, p = bench.keys, bench.p
    jobs = k.jobs(p, "push")
    await bench.pipe.script("lease", (k.jobs_lease(p, "push"), k.jobs_head(p, "push")), ("w", 60_000))
    job = {"id": "0" * 32, "e": REF, "u": "alice", "o": 1, "i": 1, "x": "acked", "t": "phone", "n": 2, "k": "send"}
    flat = [part for pair in (job | {"g": "", "x2": 5, "w": "busy"}).items() for part in pair]
    entry = await bench.ask("XADD", jobs, "*", *flat)
    await bench.ask("XGROUP", "CREATE", jobs, "deliver", "0")
    await bench.ask("XREADGROUP", "GROUP", "deliver", "w", "STREAMS", jobs, ">")
    if withdrawn:
        await bench.withdraw()
    names = (k.jobs_lease(p, "push"), jobs, k.later(p, "push"), k.dead(p), k.trail("alice"), k.devices("alice"))
    args = ("w", 1, "deliver", entry, "ack", "main", 2, 0, 100, "push", "sent", "sent", 60, "", "", "", "", escape(REF))
    assert await bench.pipe.script("settle_job", (*names, k.counts(p, REF)), args) == 1
    left = await bench.ask("XRANGE", jobs, "-", "+")
    assert len(left) == withdrawn
    if withdrawn:
        found = dict(zip(left[0][1][::2], left[0][1][1::2], strict=True))
        assert (found[b"k"], found[b"n"], found[b"x"], found[b"t"]) == (b"withdraw", b"0", b"", b"phone")
        assert len(found[b"id"]) == 32
        assert found[b"id"] != b"0" * 32
        assert int(found[b"x2"]) > 1_700_000_000_000
        assert b"w" not in found
