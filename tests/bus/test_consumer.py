"""The consumer loop on a real Redis: order, poison, outages, fences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio

from bus.consumer import Consumer, QueueStats, blame
from bus.door import Door, Place
from bus.errors import BusDown, BusError, Overloaded, Refused
from bus.keys import Keys
from bus.lease import Fenced, Lease, Leases
from bus.outcome import Done, Misconfigured, Outcome, Rejected, Retry, Unavailable
from bus.pipe import Pipe
from bus.policy import RetryPolicy
from bus.queue import KEPT_BYTES, KEPT_FIELDS, Entry, Queue, kept
from tests.conftest import open_pipe
from tests.servers import RedisSite

P = 0
QUICK = RetryPolicy(delays=(0.001, 0.001, 0.001), outage=0.001)


class Knock:
    """A doorbell that the test rings."""

    def __init__(self) -> None:
        self.waiting_after: str | None = None
        self._rung = asyncio.Event()
        self.idle = asyncio.Event()

    async def wait(self, position: str) -> None:
        self.waiting_after = position
        self.idle.set()
        await self._rung.wait()
        self._rung.clear()

    def ring(self) -> None:
        self.idle.clear()
        self._rung.set()


class Desk:
    """Handles entries as the test says, and remembers what it was given."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.rules: dict[str, Callable[[], Outcome]] = {}
        self.before: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        names = [entry.fields[b"e"].decode() for entry in entries]
        self.calls.append(names)
        if self.before is not None:
            await self.before()
        return [self.rules.get(name, Done)() for name in names]

    def fail(self, name: str, error: Exception, times: int = 1_000) -> None:
        left = [times]

        def rule() -> Outcome:
            left[0] -= 1
            if left[0] >= 0:
                raise error
            return Done()

        self.rules[name] = rule


class Room:
    def __init__(self, pipe: Pipe, keys: Keys, lease: Lease) -> None:
        self.pipe, self.keys, self.lease = pipe, keys, lease
        self.desk, self.bell, self.stats = Desk(), Knock(), QueueStats()
        self.queue = Queue(pipe, keys, lease, batch=5, keep=60, dead=100)
        self.consumer = Consumer(self.queue, self.desk, QUICK, self.bell, self.stats, chance=lambda: 0.5)

    async def add(self, *names: str) -> list[str]:
        return [(await self.pipe.ask("XADD", self.keys.events(P), "*", "e", name)).decode() for name in names]

    async def dead(self) -> list[dict[bytes, bytes]]:
        found = await self.pipe.ask("XRANGE", self.keys.dead(P), "-", "+")
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in found]

    async def pending(self) -> int:
        return int((await self.pipe.ask("XPENDING", self.keys.events(P), "fanout"))[0])

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(self.consumer.run())
            yield
            self.consumer.stop()
            await running

    async def work(self) -> None:
        """Until there is nothing more to do."""
        async with self.working():
            await self.bell.idle.wait()


@pytest_asyncio.fixture
async def room(redis_server: RedisSite, keys: Keys) -> AsyncIterator[Room]:
    async with open_pipe(redis_server.url) as pipe:
        lease = (await Leases(pipe, keys, "w", 60).hold((P,)))[P]
        assert lease is not None
        yield Room(pipe, keys, lease)


async def test_entries_are_handled_in_order_in_batches(room: Room) -> None:
    ids = await room.add(*"abcdefg")
    await room.work()
    assert room.desk.calls == [list("abcde"), list("fg")]
    assert (room.stats.taken, room.stats.acked, await room.pending()) == (7, 7, 0)
    assert room.bell.waiting_after == ids[-1]


async def test_what_comes_while_it_waits_for_its_turn_makes_the_batch_larger(room: Room) -> None:
    door = Door(1, 60)
    room.consumer = Consumer(room.queue, room.desk, QUICK, room.bell, room.stats, place=Place(door))
    await room.add("a")
    async with room.working():
        async with Place(door).inside():
            await asyncio.sleep(0)
            await room.add(*"bc")
            assert room.desk.calls == []
        await room.bell.idle.wait()
        assert room.desk.calls == [["a", "b", "c"]]


async def test_who_is_stopped_while_it_waits_for_its_turn_takes_nothing(room: Room) -> None:
    door = Door(1, 60)
    room.consumer = Consumer(room.queue, room.desk, QUICK, room.bell, room.stats, place=Place(door))
    await room.add("a")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group, Place(door).inside():
        running = group.create_task(room.consumer.run())
        await asyncio.sleep(0)
        room.consumer.stop()
        await running
    assert room.desk.calls == []


async def test_a_failing_head_rests_outside(room: Room) -> None:
    """Its retries must not keep others waiting."""
    door = Door(1, 60)
    slow = RetryPolicy(delays=(60.0,), outage=60.0)
    room.consumer = Consumer(room.queue, room.desk, slow, room.bell, room.stats, place=Place(door))
    room.desk.fail("a", RuntimeError())
    await room.add("a")
    tried = asyncio.Event()

    async def tell() -> None:
        tried.set()

    room.desk.before = tell
    async with room.working():
        await tried.wait()
        async with Place(door).inside():
            pass
        room.consumer.stop()


async def test_a_knock_brings_the_next(room: Room) -> None:
    async with room.working():
        await room.bell.idle.wait()
        assert room.bell.waiting_after == "0-0"
        (entry,) = await room.add("a")
        room.bell.ring()
        await room.bell.idle.wait()
        assert room.desk.calls == [["a"]]
        assert room.bell.waiting_after == entry


async def test_what_was_pending_comes_first_then_what_is_new(room: Room) -> None:
    await room.add(*"ab")
    keys = (room.keys.lease(P), room.keys.events(P), room.keys.head(P))
    await room.pipe.script("take", keys, ("w", 1, "fanout", f"p{P}", 5))  # a worker that died here
    await room.add(*"cd")
    await room.work()
    assert room.desk.calls == [["a", "b"], ["c", "d"]]


async def test_a_rejected_entry_is_buried_at_once_and_the_rest_flows(room: Room) -> None:
    room.desk.rules["b"] = lambda: Rejected("not an event")
    await room.add(*"abc")
    await room.work()
    assert room.desk.calls == [["a", "b", "c"]]
    (letter,) = await room.dead()
    assert (letter[b"reason"], letter[b"attempts"], letter[b"e"]) == (b"not an event", b"1", b"b")
    assert (room.stats.acked, room.stats.buried, await room.pending()) == (2, 1, 0)


async def test_an_exception_is_charged_to_its_own_entry_alone(room: Room) -> None:
    room.desk.fail("b", ValueError("a secret of the payload"))
    await room.add(*"abcd")
    await room.work()
    (letter,) = await room.dead()
    assert letter[b"e"] == b"b"
    assert letter[b"attempts"] == b"4"  # the first and three more
    assert letter[b"reason"].startswith(b"ValueError in tests.bus.test_consumer.rule, line ")
    assert b"secret" not in letter[b"reason"]
    assert room.stats.acked == 3
    handled_alone = [call for call in room.desk.calls if call == ["c"]]
    assert len(handled_alone) <= 1  # nothing behind it was tried alone before it was settled


async def test_a_failure_that_passes_costs_nothing_but_time(room: Room) -> None:
    room.desk.fail("a", RuntimeError(), times=3)
    await room.add(*"ab")
    await room.work()
    assert await room.dead() == []
    assert room.stats.acked == 2


async def test_two_poisons_are_both_buried(room: Room) -> None:
    room.desk.fail("a", KeyError())
    room.desk.fail("c", TypeError())
    await room.add(*"abcd")
    await room.work()
    assert [letter[b"e"] for letter in await room.dead()] == [b"a", b"c"]
    assert room.stats.acked == 2


async def test_attempts_survive_the_worker(room: Room) -> None:
    room.desk.rules["a"] = lambda: Retry("it failed")
    await room.add("a")
    await room.pipe.ask("HSET", room.keys.head(P), "entry", "unknown", "attempts", 2)
    (entry,) = [e[0] for e in await room.pipe.ask("XRANGE", room.keys.events(P), "-", "+")]
    await room.pipe.ask("HSET", room.keys.head(P), "entry", entry, "attempts", 3)
    await room.work()
    assert len(room.desk.calls) == 1
    assert [letter[b"attempts"] for letter in await room.dead()] == [b"4"]


@pytest.mark.parametrize(
    "error", [BusDown("away"), Overloaded("x"), Refused("OOM x"), Refused("READONLY x"), Refused("TRYAGAIN x")]
)
async def test_trouble_of_redis_is_waited_out_and_counts_for_nobody(room: Room, error: BusError) -> None:
    room.desk.fail("a", error, times=10)
    await room.add(*"ab")
    await room.work()
    assert await room.dead() == []
    assert room.stats.acked == 2
    assert await room.pipe.ask("HGET", room.keys.head(P), "attempts") is None


async def test_a_refusal_that_does_not_pass_is_the_entrys_own(room: Room) -> None:
    room.desk.fail("b", Refused("WRONGTYPE of somebody's key"))
    await room.add(*"abc")
    await room.work()
    (letter,) = await room.dead()
    assert (letter[b"e"], letter[b"reason"]) == (b"b", b"Redis refused: WRONGTYPE")


async def test_missing_rights_bury_nothing(room: Room) -> None:
    room.desk.fail("a", Refused("NOPERM this user has no permissions"), times=1)
    await room.add("a")
    async with room.working():
        while not room.desk.calls:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
    assert await room.dead() == []
    assert await room.pending() == 1


async def test_an_entry_behind_one_that_waits_is_not_acknowledged(room: Room) -> None:
    room.desk.rules["b"] = lambda: Unavailable("away")
    await room.add(*"abc")
    async with room.working():
        while len(room.desk.calls) < 3:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
        assert await room.pending() == 2
        room.desk.rules.clear()
        await room.bell.idle.wait()
    assert room.desk.calls[:2] == [["a", "b", "c"], ["b", "c"]]
    assert await room.pending() == 0


async def test_a_trimmed_pending_entry_is_finished_and_counted(room: Room) -> None:
    (first, *_) = await room.add(*"abc")
    keys = (room.keys.lease(P), room.keys.events(P), room.keys.head(P))
    await room.pipe.script("take", keys, ("w", 1, "fanout", f"p{P}", 5))
    await room.pipe.ask("XDEL", room.keys.events(P), first)
    await room.work()
    assert room.desk.calls == [["b", "c"]]
    assert (room.stats.trimmed, await room.pending()) == (1, 0)


async def test_a_group_that_was_destroyed_is_made_again(room: Room) -> None:
    await room.add(*"ab")
    async with room.working():
        await room.bell.idle.wait()
        await room.pipe.ask("XGROUP", "DESTROY", room.keys.events(P), "fanout")
        await room.add("c")
        room.bell.ring()
        await room.bell.idle.wait()
    assert room.desk.calls == [["a", "b"], ["c"]]


async def test_a_lost_lease_ends_the_work_at_once(room: Room) -> None:
    await room.add("a")

    async def lose() -> None:
        await room.pipe.ask("SET", room.keys.lease(P), "other 2")

    room.desk.before = lose
    with pytest.raises(Fenced):
        async with asyncio.timeout(60):
            await room.consumer.run()
    assert await room.pending() == 1
    assert room.stats.acked == 0


async def test_a_stream_of_another_type_is_waited_out(room: Room) -> None:
    await room.pipe.ask("SET", room.keys.events(P), "x")
    async with room.working():
        while room.stats.bus_failures < 3:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
        await room.pipe.ask("DEL", room.keys.events(P))
        await room.add("a")
        # Between the two it may have found that nothing is there, and wait for a sign.
        room.bell.ring()
        while not room.desk.calls:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
    assert room.desk.calls == [["a"]]


async def test_an_entry_too_odd_to_keep_whole_is_buried_all_the_same(room: Room) -> None:
    room.desk.rules["x"] = lambda: Rejected("odd")
    many = [part for n in range(9_000) for part in (f"f{n}", "v")]
    many += ["big", "b" * (KEPT_BYTES + 1), "reason", "forged", "e", "x"]
    await room.pipe.ask("XADD", room.keys.events(P), "*", *many)
    await room.work()
    (letter,) = await room.dead()
    assert (letter[b"reason"], letter[b"e"]) == (b"odd", b"x")


def test_what_is_kept_of_an_entry() -> None:
    assert kept({b"z": b"1", b"e": b"{}", b"reason": b"forged"}) == [b"e", b"{}", b"z", b"1"]
    assert kept({b"e": bytes(KEPT_BYTES + 1)}) == [b"e", b""]
    assert len(kept({b"%d" % n: b"" for n in range(1_000)})) == 2 * KEPT_FIELDS


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BusDown("x"), Unavailable),
        (Overloaded("x"), Unavailable),
        (Refused("OOM x"), Unavailable),
        (Refused("NOPERM x"), Misconfigured),
        (Refused("WRONGPASS x"), Misconfigured),
        (Refused("ERR x"), Retry),
    ],
)
def test_who_is_to_blame(error: BusError, kind: type[Any]) -> None:
    assert isinstance(blame(error), kind)
