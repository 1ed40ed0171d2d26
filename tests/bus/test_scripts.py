"""What each Lua script promises in its header, on a real Redis 7 and a real Redis 6.2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from bus.errors import Refused
from bus.keys import Keys, escape
from bus.pipe import Arg, Pipe
from bus.scripts import all_scripts
from tests.conftest import open_pipe
from tocsin.embedded import EmbeddedRedis

P = 3
GROUP = "fanout"


class Bench:
    """The scripts with their keys filled in."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self.pipe, self.keys = pipe, keys
        self.ask = pipe.ask

    # The queue

    def _queue(self) -> tuple[str, str, str]:
        return self.keys.lease(P), self.keys.events(P), self.keys.head(P)

    async def lease(self, owner: str = "w", ttl: int = 60_000, fence: int = 0) -> int:
        return int(await self.pipe.script("lease", (self.keys.lease(P), self.keys.head(P)), (owner, ttl, fence)))

    async def release(self, owner: str, fence: int) -> int:
        return int(await self.pipe.script("release", (self.keys.lease(P),), (owner, fence)))

    async def take(self, fence: int = 1, count: int = 10) -> list[Any]:
        return list(await self.pipe.script("take", self._queue(), ("w", fence, GROUP, f"p{P}", count)))

    async def taken(self, fence: int = 1, count: int = 10) -> list[bytes]:
        return [entry[0] for entry in (await self.take(fence, count))[3:]]

    async def ack(self, *ids: bytes, fence: int = 1, keep: int = 60_000) -> int:
        return int(await self.pipe.script("ack", self._queue(), ("w", fence, GROUP, keep, *ids)))

    async def attempt(self, entry: bytes, fence: int = 1) -> int:
        keys = (self.keys.lease(P), self.keys.head(P))
        return int(await self.pipe.script("attempt", keys, ("w", fence, entry)))

    async def bury(self, entry: bytes, *fields: bytes, fence: int = 1) -> bytes:
        args: tuple[Arg, ...] = ("w", fence, GROUP, entry, "why", 2, 1_000, *fields)
        return bytes(await self.pipe.script("bury", (*self._queue(), self.keys.dead(P)), args))

    async def add(self, count: int = 1) -> list[bytes]:
        return [await self.ask("XADD", self.keys.events(P), "*", "e", f"event {n}") for n in range(count)]

    async def due(self, fence: int = 1, most: int = 10) -> int:
        keys = (self.keys.lease(P), self.keys.events(P), self.keys.timers(P))
        return int((await self.pipe.script("due", keys, ("w", fence, most, 100)))[0])

    async def due_items(self) -> list[Any]:
        keys = (self.keys.lease(P), self.keys.events(P), self.keys.timers(P))
        return list(await self.pipe.script("due", keys, ("w", 1, 100, 100)))[2:]

    # Topics

    async def publish(
        self,
        event: str,
        topics: Sequence[str],
        *,
        size: int = 100,
        ttl: int = 300,
        epoch: str = "new",
        ephemeral: bool = False,
        after: str | None = None,
    ) -> list[list[Any]]:
        reply = await self.called(
            event, topics, size=size, ttl=ttl, epoch=epoch, after=after, kind="fleeting" * ephemeral
        )
        return [[offset, *rest[:1], *rest[2:]] for offset, *rest in reply[1:]]

    async def called(
        self,
        event: str,
        topics: Sequence[str],
        *,
        size: int = 100,
        ttl: int = 300,
        epoch: str = "new",
        kind: str = "",
        after: str | None = None,
        wanted: str = "on",
        category: str = "",
        first: tuple[int, int] | None = None,
        nodes: Sequence[str] = (),
        meant: str = "",
    ) -> list[Any]:
        """publish.lua as it answers; `first`: index and wait (ms) of the first step."""
        keys, p = self.keys, self.keys.partition(topics[0])
        names = [keys.body(p, event), keys.seen(p, event), keys.withdrawn(p, event), keys.lease(p), keys.timers(p)]
        names += [keys.counts(p, event), *(keys.log(topic) for topic in topics)]
        args: list[Arg] = [f'"data":"{event}"', escape(event), ttl, ttl, 86_400, size, epoch, kind or "notification"]
        args += [wanted, category, *(("", "") if first is None else ("{}", "[]")), 12_345, *(first or ("", 0))]
        args += [20_000, meant, "\n".join(("", *nodes, "")), len(topics), *topics]
        if after is not None:
            names.append(keys.seen(p, after))
            args += [part for number in range(len(topics)) for part in (number + 1, 1)]
        return list(await self.pipe.script("publish", names, args))

    async def join(self, topic: str, since: int | None = None, *, node: str = "n1", epoch: str = "new") -> list[Any]:
        keys = self.keys
        prefix = keys.body_prefix(keys.partition(topic))
        args = (node, epoch, int(since is not None), since or 0, 300, prefix, 600, 86_400)
        return list(await self.pipe.script("join", (keys.log(topic), keys.meta(topic), keys.routes(topic)), args))

    async def history(self, topic: str, start: str, limit: int, *, reverse: bool = False) -> list[Any]:
        keys = self.keys
        args = ("new", start, int(reverse), limit, keys.body_prefix(keys.partition(topic)), 86_400)
        return list(await self.pipe.script("history", (keys.log(topic), keys.meta(topic)), args))

    async def presence(self, script: str, *args: Arg) -> Any:
        topic = "news:a"
        return await self.pipe.script(script, (self.keys.presence(topic), self.keys.presence_expiry(topic)), args)

    # Nodes

    def node(self) -> tuple[str, str, str]:
        return self.keys.node_deliveries("n1"), self.keys.node_sequence("n1"), self.keys.node_alive("n1")

    async def beat(self, ttl: int = 60_000, read_to: int = 0) -> list[int]:
        return list(await self.pipe.script("beat_node", self.node(), (ttl, 6 * ttl, read_to)))

    async def deliver(self, text: str = "x") -> int:
        return int(await self.pipe.script("deliver", self.node(), (1_000, 60_000, "k", text)))


@pytest_asyncio.fixture
async def bench(any_server: EmbeddedRedis, keys: Keys) -> AsyncIterator[Bench]:
    async with open_pipe(any_server.url) as pipe:
        yield Bench(pipe, keys)


def fenced() -> Any:
    return pytest.raises(Refused, match=r"^FENCED")


# Leases ----------------------------------------------------------------------------------------------------------


async def test_a_lease_has_one_owner_and_each_new_one_a_higher_number(bench: Bench) -> None:
    assert [await bench.lease("a"), await bench.lease("b"), await bench.lease("a")] == [1, 0, 1]
    assert await bench.release("a", 2) == 0  # not that lease
    assert await bench.release("b", 1) == 0  # not theirs
    assert await bench.release("a", 1) == 1
    assert await bench.lease("b") == 2


async def test_a_lease_that_ran_out_comes_back_with_another_number(bench: Bench) -> None:
    assert await bench.lease("a") == 1
    await bench.ask("DEL", bench.keys.lease(P))
    assert await bench.lease("a") == 2


async def test_who_says_that_they_had_it_goes_on_unless_another_had_it_since(bench: Bench) -> None:
    assert await bench.lease("a") == 1
    await bench.ask("DEL", bench.keys.lease(P))
    assert await bench.lease("a", fence=1) == 1
    assert 0 < await bench.ask("PTTL", bench.keys.lease(P)) <= 60_000
    assert await bench.lease("b", fence=1) == 0
    await bench.release("a", 1)
    assert await bench.lease("b") == 2
    await bench.release("b", 2)
    assert await bench.lease("a", fence=1) == 3


async def test_an_owner_may_have_spaces_in_its_name(bench: Bench) -> None:
    assert [await bench.lease("a b 1"), await bench.lease("a b 1"), await bench.lease("a b")] == [1, 1, 0]


async def test_nothing_works_under_a_lease_that_is_over(bench: Bench) -> None:
    await bench.lease()
    (entry,) = await bench.add()
    await bench.take()
    for call in (
        bench.take(9),
        bench.ack(entry, fence=9),
        bench.attempt(entry, 9),
        bench.bury(entry, fence=9),
        bench.due(9),
    ):
        with fenced():
            await call
    assert await bench.taken() == [entry]


# Taking ----------------------------------------------------------------------------------------------------------


async def test_pending_entries_come_first_and_alone(bench: Bench) -> None:
    await bench.lease()
    first = await bench.add(2)
    assert (await bench.take())[:3] == [0, 0, first[-1]]
    second = await bench.add(2)
    assert (await bench.take())[:3] == [0, 1, first[-1]]
    assert await bench.ack(*first) == 2
    assert await bench.taken() == second


async def test_an_empty_take_says_where_the_stream_ends(bench: Bench) -> None:
    await bench.lease()
    assert await bench.take() == [0, 0, b"0-0"]
    (entry,) = await bench.add()
    await bench.take()
    await bench.ack(entry)
    assert await bench.take() == [0, 0, entry]


async def test_entries_from_before_the_first_worker_are_taken(bench: Bench) -> None:
    entries = await bench.add(3)
    await bench.lease()
    assert await bench.taken(count=2) == entries[:2]


async def test_a_trimmed_pending_entry_has_no_fields(bench: Bench) -> None:
    await bench.lease()
    entries = await bench.add(2)
    await bench.take()
    await bench.ask("XDEL", bench.keys.events(P), entries[0])
    taken = await bench.take()
    assert taken[3:] == [[entries[0], []], [entries[1], [b"e", b"event 1"]]]


async def test_attempts_belong_to_the_head_alone(bench: Bench) -> None:
    await bench.lease()
    first, second = await bench.add(2)
    await bench.take()
    assert [await bench.attempt(first), await bench.attempt(first)] == [1, 2]
    assert (await bench.take())[0] == 2
    await bench.ack(first)
    assert (await bench.take())[0] == 0
    assert await bench.attempt(second) == 1


async def test_a_lost_group_begins_at_the_checkpoint(bench: Bench) -> None:
    await bench.lease()
    entries = await bench.add(4)
    await bench.take(count=3)
    await bench.ack(*entries[:2])
    await bench.ask("XGROUP", "DESTROY", bench.keys.events(P), GROUP)
    assert await bench.taken() == entries[2:]


async def test_a_stream_made_anew_is_read_from_its_beginning(bench: Bench) -> None:
    await bench.lease()
    (entry,) = await bench.add()
    await bench.take()
    await bench.ack(entry)
    await bench.ask("DEL", bench.keys.events(P))
    assert await bench.taken() == []
    # A clock that was set back: the ids of the new stream lie before the checkpoint.
    await bench.ask("DEL", bench.keys.events(P))
    await bench.ask("XADD", bench.keys.events(P), "5-1", "e", "x")
    assert await bench.taken() == [b"5-1"]


async def test_a_key_that_is_no_stream_is_an_error(bench: Bench) -> None:
    await bench.lease()
    await bench.ask("SET", bench.keys.events(P), "x")
    with pytest.raises(Refused, match="WRONGTYPE"):
        await bench.take()


# Settling --------------------------------------------------------------------------------------------------------


async def test_ack_trims_what_was_acknowledged_a_while_ago_and_nothing_else(bench: Bench) -> None:
    await bench.lease()
    for number in range(1, 301):
        await bench.ask("XADD", bench.keys.events(P), f"{number}-1", "e", "x")
    ids = await bench.taken(count=300)
    await bench.ack(*ids[:250])
    assert await bench.ask("XLEN", bench.keys.events(P)) == 300, "the entries are old, but not their acknowledgement"
    async with asyncio.timeout(60):
        while await bench.ask("XLEN", bench.keys.events(P)) == 300:
            await bench.ack(ids[249], keep=20)
    left = await bench.ask("XRANGE", bench.keys.events(P), "-", "+")
    assert 51 <= len(left) <= 151  # whole nodes of 100 go
    assert [entry[0] for entry in left][-50:] == ids[250:]
    assert await bench.taken(count=300) == ids[250:]


async def test_what_was_acknowledged_just_now_stays(bench: Bench) -> None:
    await bench.lease()
    ids = await bench.add(300)
    await bench.taken(count=300)
    await bench.ack(*ids)
    assert await bench.ask("XLEN", bench.keys.events(P)) == 300


async def test_bury_moves_an_entry_with_its_reason(bench: Bench) -> None:
    await bench.lease()
    bad, good = await bench.add(2)
    await bench.take()
    letter = await bench.bury(bad, b"e", b"event 0")
    ((found, fields),) = await bench.ask("XRANGE", bench.keys.dead(P), "-", "+")
    assert found == letter
    own = [b"queue", b"events", b"entry", bad, b"reason", b"why", b"attempts", b"2"]
    assert fields == [*own, b"e", b"event 0"]
    assert await bench.taken() == [good]


async def test_replay_sends_a_dead_letter_again_once(bench: Bench) -> None:
    await bench.lease()
    (bad,) = await bench.add()
    await bench.take()
    letter = await bench.bury(bad, b"p", b"shop", b"e", b"event 0")
    keys = (bench.keys.dead(P), bench.keys.events(P))
    entry = await bench.pipe.script("replay", keys, (letter,))
    sent = [b"p", b"shop", b"e", b"event 0", b"i", bad]
    assert await bench.ask("XRANGE", bench.keys.events(P), entry, entry) == [[entry, sent]]
    assert await bench.pipe.script("replay", keys, (letter,)) is None
    await bench.take()
    letter = await bench.bury(entry, *sent)
    again = await bench.pipe.script("replay", keys, (letter,))
    assert await bench.ask("XRANGE", bench.keys.events(P), again, again) == [[again, sent]], "it keeps its first name"
    own = ("queue", "q", "entry", "1", "reason", "r", "attempts", "1")
    empty = await bench.ask("XADD", bench.keys.dead(P), "*", *own)
    with pytest.raises(Refused, match="nothing was kept"):
        await bench.pipe.script("replay", keys, (empty,))


# Timers ----------------------------------------------------------------------------------------------------------


async def test_due_events_go_to_the_stream_and_the_next_is_announced(bench: Bench) -> None:
    await bench.lease()
    assert await bench.due() == -1
    seconds, micro = map(int, await bench.ask("TIME"))
    now = seconds * 1000 + micro // 1000
    timers = bench.keys.timers(P)
    await bench.ask("ZADD", timers, now - 5, b"event\n7-0\nshop\n{\n}", now - 9, b"event\n6-0\n\n{}", now - 1, "odd")
    await bench.ask("ZADD", timers, now + 60_000, b"event\n8-0\nshop\n{}")
    assert await bench.due(most=1) == 0
    assert 50_000 < await bench.due() <= 60_000
    entries = await bench.ask("XRANGE", bench.keys.events(P), "-", "+")
    assert [entry[1] for entry in entries] == [
        [b"p", b"", b"d", b"6-0", b"e", b"{}"],
        [b"p", b"shop", b"d", b"7-0", b"e", b"{\n}"],
    ]
    # What nobody understands is the worker's to bury.
    assert await bench.ask("ZRANGE", timers, 0, 0) == [b"odd"]
    assert (await bench.due_items())[0] == [b"broken", b"odd", b"no timer of a known form"]


# Publishing ------------------------------------------------------------------------------------------------------


async def test_publish_gives_each_event_the_next_offset_and_says_who_listens(bench: Bench) -> None:
    await bench.join("news:a")
    await bench.join("news:a", node="n2")
    first = await bench.publish("e1", ["news:a"])
    assert [first[0][:2], sorted(first[0][2:])] == [[1, b"new"], [b"n1", b"n2"]]
    assert (await bench.publish("e2", ["news:a"]))[0][:2] == [2, b"new"]
    assert await bench.join("news:a", 0) == [b"new", 2, [1, b'"data":"e1"', 2, b'"data":"e2"']]


async def test_a_repeated_publish_has_no_second_effect(bench: Bench) -> None:
    first = await bench.publish("e1", ["news:a"])
    await bench.publish("e2", ["news:a"])
    assert await bench.publish("e1", ["news:a"]) == first
    assert await bench.ask("XLEN", bench.keys.log("news:a")) == 2


async def test_an_event_does_not_overtake_another_of_its_batch(bench: Bench) -> None:
    with pytest.raises(Refused, match=r"^BEHIND"):
        await bench.publish("e2", ["news:a"], after="e1")
    assert await bench.ask("EXISTS", bench.keys.meta("news:a"), bench.keys.log("news:a")) == 0
    await bench.publish("e1", ["news:a"])
    assert (await bench.publish("e2", ["news:a"], after="e1"))[0][0] == 2


async def test_an_ephemeral_event_leaves_nothing(bench: Bench) -> None:
    await bench.join("news:a")
    before = await bench.ask("DBSIZE")
    assert await bench.publish("e1", ["news:a"], ephemeral=True) == [[0, b"", b"n1"]]
    assert await bench.ask("DBSIZE") == before


async def test_history_may_be_off(bench: Bench) -> None:
    assert (await bench.publish("e1", ["news:a"], size=0))[0][0] == 1
    p = bench.keys.partition("news:a")
    assert await bench.ask("EXISTS", bench.keys.log("news:a"), bench.keys.body(p, "e1")) == 0
    assert (await bench.publish("e1", ["news:a"], size=0))[0][0] == 1


async def test_history_keeps_its_size(bench: Bench) -> None:
    for number in range(12):
        await bench.publish(f"e{number}", ["news:a"], size=5)
    assert [entry[0] for entry in await bench.ask("XRANGE", bench.keys.log("news:a"), "-", "+")] == [
        b"%d-0" % n for n in range(8, 13)
    ]


async def test_nothing_withdrawn_is_published(bench: Bench) -> None:
    await bench.ask("SET", bench.keys.withdrawn(bench.keys.partition("news:a"), "e1"), "1")
    assert await bench.publish("e1", ["news:a"]) == []


async def test_everything_has_an_end(bench: Bench) -> None:
    await bench.publish("e1", ["news:a"], ttl=100)
    keys, p = bench.keys, bench.keys.partition("news:a")
    ttls = [
        await bench.ask("TTL", key)
        for key in (keys.body(p, "e1"), keys.log("news:a"), keys.seen(p, "e1"), keys.meta("news:a"))
    ]
    assert [round(ttl, -2) for ttl in ttls] == [100, 100, 86_400, 2_592_100]


async def test_a_body_is_kept_as_long_as_the_most_patient_topic_keeps_it(bench: Bench) -> None:
    p = bench.keys.partition("news:a")
    await bench.publish("e1", ["news:a"], ttl=5_000)
    await bench.publish("e1", ["news:b"], ttl=100) if bench.keys.partition("news:b") == p else None
    other = next(f"news:{n}" for n in range(1_000) if bench.keys.partition(f"news:{n}") == p)
    await bench.publish("e1", [other], ttl=100)
    assert await bench.ask("TTL", bench.keys.body(p, "e1")) > 4_000
    await bench.publish("e2", [other], ttl=100)
    await bench.publish("e2", ["news:a"], ttl=5_000)
    assert await bench.ask("TTL", bench.keys.body(p, "e2")) > 4_000


async def test_one_recipient_with_broken_keys_does_not_harm_the_others(bench: Bench) -> None:
    p = bench.keys.partition("@alice")
    bob = next(f"@bob{n}" for n in range(1_000) if bench.keys.partition(f"@bob{n}") == p)
    await bench.publish("first", ["@alice", bob])
    await bench.join("@alice")
    for broken in (bench.keys.log("@alice"), bench.keys.meta("@alice"), bench.keys.routes("@alice")):
        await bench.ask("RENAME", broken, broken + "-kept")
        await bench.ask("SET", broken, "not that type")
        event = f"e{broken}"
        answer = await bench.publish(event, ["@alice", bob])
        assert answer[0] == [-1, b"WRONGTYPE"]
        assert answer[1][0] > 0
        assert await bench.publish(event, ["@alice", bob]) == answer
        await bench.ask("RENAME", broken + "-kept", broken)
    assert (await bench.publish("last", ["@alice"]))[0][0] == 2  # no offset was lost on the way


async def test_a_position_that_was_lost_begins_a_new_epoch(bench: Bench) -> None:
    await bench.publish("e1", ["news:a"], epoch="one")
    await bench.ask("DEL", bench.keys.meta("news:a"))
    assert (await bench.publish("e1", ["news:a"], epoch="two"))[0][:2] == [1, b"two"]
    assert await bench.ask("XLEN", bench.keys.log("news:a")) == 1
    await bench.ask("DEL", bench.keys.meta("news:a"))
    assert await bench.join("news:a", 0, epoch="three") == [b"three", 0, []]
    await bench.publish("e2", ["news:a"])
    await bench.ask("DEL", bench.keys.meta("news:a"))
    assert await bench.history("news:a", "-", 10) == [b"new", 0, []]


async def test_a_position_behind_its_log_is_put_right(bench: Bench) -> None:
    for number in range(3):
        await bench.publish(f"e{number}", ["news:a"])
    await bench.ask("HSET", bench.keys.meta("news:a"), "top", 1)
    assert (await bench.publish("e3", ["news:a"]))[0][0] == 4
    assert await bench.ask("HGET", bench.keys.meta("news:a"), "top") == b"4"


async def test_a_full_redis_refuses_the_whole_call(bench: Bench) -> None:
    await bench.publish("e1", ["news:a"])
    await bench.lease()
    (entry,) = await bench.add()
    await bench.take()
    await bench.ask("CONFIG", "SET", "maxmemory", 1_000_000)
    try:
        with pytest.raises(Refused) as full:
            await bench.publish("e2", ["news:a"])
        assert full.value.passing
        assert await bench.ack(entry) == 1  # what is done can be taken off, or Redis would stay full
    finally:
        await bench.ask("CONFIG", "SET", "maxmemory", 0)
    assert (await bench.publish("e2", ["news:a"]))[0][0] == 2


async def test_two_hundred_recipients_fit_into_a_call(bench: Bench) -> None:
    p = bench.keys.partition("@u0")
    users = [f"@u{n}" for n in range(4_000) if bench.keys.partition(f"@u{n}") == p][:200]
    assert [answer[0] for answer in await bench.publish("e1", users)] == [1] * 200
    assert [answer[0] for answer in await bench.publish("e2", users, after="e1")] == [2] * 200


# Joining and reading ---------------------------------------------------------------------------------------------


async def test_join_tells_where_a_topic_stands_and_what_was_missed(bench: Bench) -> None:
    assert await bench.join("news:a", epoch="one") == [b"one", 0, []]
    for number in range(3):
        await bench.publish(f"e{number}", ["news:a"])
    assert await bench.join("news:a", 1) == [b"one", 3, [2, b'"data":"e1"', 3, b'"data":"e2"']]
    assert await bench.join("news:a", 3) == [b"one", 3, []]
    assert await bench.join("news:a") == [b"one", 3, []]
    node, at = await bench.ask("HGETALL", bench.keys.routes("news:a"))
    assert node == b"n1"
    assert abs(int(at) - int((await bench.ask("TIME"))[0]) * 1000) < 20_000


async def test_join_gives_nothing_from_before_what_is_gone(bench: Bench) -> None:
    for number in range(4):
        await bench.publish(f"e{number}", ["news:a"])
    p = bench.keys.partition("news:a")
    await bench.ask("DEL", bench.keys.body(p, "e1"))
    await bench.ask("HDEL", bench.keys.body(p, "e2"), "pub")
    await bench.ask("HSET", bench.keys.body(p, "e2"), "w", "1")  # withdrawn: a tombstone, not a hole
    assert await bench.join("news:a", 0) == [b"new", 4, [3, b"", 4, b'"data":"e3"']]


async def test_history_reads_both_ways(bench: Bench) -> None:
    for number in range(1, 5):
        await bench.publish(f"e{number}", ["news:a"])
    text = [b'"data":"e%d"' % n for n in range(5)]
    assert await bench.history("news:a", "-", 2) == [b"new", 4, [1, text[1], 2, text[2]]]
    assert await bench.history("news:a", "3", 9) == [b"new", 4, [3, text[3], 4, text[4]]]
    assert await bench.history("news:a", "+", 2, reverse=True) == [b"new", 4, [4, text[4], 3, text[3]]]
    assert await bench.history("news:a", "2", 9, reverse=True) == [b"new", 4, [2, text[2], 1, text[1]]]
    assert await bench.history("news:a", "-", 0) == [b"new", 4, []]


# Nodes -----------------------------------------------------------------------------------------------------------


async def test_entries_reach_living_nodes_under_their_own_numbers(bench: Bench) -> None:
    assert await bench.deliver() == 0
    assert await bench.ask("EXISTS", *bench.node()) == 0
    assert await bench.beat() == [0, 1]
    assert [await bench.deliver(f"{n}") for n in range(3)] == [1, 2, 3]
    assert await bench.beat() == [3, 0]
    stream = await bench.ask("XRANGE", bench.keys.node_deliveries("n1"), "-", "+")
    assert stream == [[b"%d-0" % (n + 1), [b"k", b"%d" % n]] for n in range(3)]


async def test_a_node_that_lapsed_is_told(bench: Bench) -> None:
    await bench.beat()
    await bench.deliver()
    await bench.ask("DEL", bench.keys.node_alive("n1"))
    assert await bench.deliver() == 0
    assert await bench.beat() == [1, 1]
    assert await bench.deliver() == 2


async def test_what_a_node_has_read_is_trimmed(bench: Bench) -> None:
    await bench.beat()
    for _ in range(250):
        await bench.deliver()
    await bench.beat(read_to=249)
    left = await bench.ask("XRANGE", bench.keys.node_deliveries("n1"), "-", "+")
    assert left[-1][0] == b"250-0"
    assert len(left) <= 101


async def test_what_took_the_place_of_lost_entries_is_not_trimmed(bench: Bench) -> None:
    await bench.beat()
    for _ in range(3):
        await bench.deliver()
    assert await bench.beat(read_to=8) == [3, 0]
    assert await bench.ask("XLEN", bench.keys.node_deliveries("n1")) == 3


async def test_a_full_redis_goes_on_to_take_what_keeps_the_system_alive(bench: Bench) -> None:
    """Or all nodes would count as dead and send their clients away, and nobody could work what is there."""
    keys = bench.keys
    await bench.ask("CONFIG", "SET", "maxmemory", 1_000_000)
    try:
        assert await bench.pipe.script("register", (keys.nodes,), (60_000, "n1")) == [b"n1"]
        assert await bench.beat() == [0, 1]
        assert await bench.beat() == [0, 0]
        assert await bench.deliver() == 1
        names = (keys.lease(3), keys.head(3))
        assert await bench.pipe.script("lease", names, ("w1", 60_000)) == 1
        assert await bench.pipe.script("lease", names, ("w1", 60_000, 1)) == 1
        assert await bench.ask("GETEX", names[0], "PX", 60_000) == b"w1 1"
        assert await bench.pipe.script("lease", names, ("w2", 60_000)) == 0
    finally:
        await bench.ask("CONFIG", "SET", "maxmemory", 0)
    assert all([await bench.ask("PTTL", key) > 0 for key in bench.node()])


async def test_a_registry_forgets_who_says_nothing(bench: Bench) -> None:
    keys = (bench.keys.workers,)
    assert await bench.pipe.script("register", keys, (60_000, "a")) == [b"a"]
    assert sorted(await bench.pipe.script("register", keys, (60_000, "b"))) == [b"a", b"b"]
    await bench.ask("ZADD", bench.keys.workers, 1, "a")
    assert await bench.pipe.script("register", keys, (60_000,)) == [b"b"]


# Presence and idempotency ----------------------------------------------------------------------------------------


async def test_presence_is_added_refreshed_and_removed(bench: Bench) -> None:
    assert await bench.presence("presence_add", 60_000, "c1", "{}", "c2", "{}") == 2
    assert await bench.presence("presence_add", 60_000, "c1", "{1}") == 0
    listed = await bench.presence("presence_list")
    assert dict(zip(listed[::2], listed[1::2], strict=True)) == {b"c1": b"{1}", b"c2": b"{}"}
    assert await bench.presence("presence_remove", "c1", "c3") == 1
    await bench.ask("ZADD", bench.keys.presence_expiry("news:a"), 1, "c2")
    assert await bench.presence("presence_list") == []


async def test_an_idempotent_append_happens_once(bench: Bench) -> None:
    keys = (bench.keys.events(P), bench.keys.accepted(P, "ref"))
    position, new = await bench.pipe.script("accept", keys, (100, "e", "{}"))
    assert new == 1
    assert await bench.pipe.script("accept", keys, (100, "e", "{}")) == [position, 0]
    assert await bench.ask("XLEN", keys[0]) == 1


async def test_an_idempotency_key_stands_for_one_request(bench: Bench) -> None:
    keys = (bench.keys.idempotency("digest"),)
    begin = ("idempotency_begin", keys, ("fingerprint", 60_000, 100))
    assert await bench.pipe.script(*begin) == [b"new"]
    assert await bench.pipe.script(*begin) == [b"busy"]
    assert await bench.pipe.script("idempotency_begin", keys, ("another", 60_000, 100)) == [b"other"]
    await bench.pipe.script("idempotency_finish", keys, ("fingerprint", "answer", 100))
    assert await bench.pipe.script(*begin) == [b"done", b"answer"]


# All of them -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", all_scripts(), ids=lambda script: script.name)
def test_every_script_states_its_contract(script: Any) -> None:
    header = [line for line in script.text.splitlines() if line.startswith("--")]
    for part in ("-- KEYS ", "-- ARGV ", "-- Returns ", "-- Atomic because "):
        assert any(line.startswith(part) for line in header), part
