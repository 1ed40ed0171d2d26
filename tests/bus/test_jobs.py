"""The jobs of a channel in one partition: taken under a lease, many at once, each settled by itself, once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from bus.clock import SystemClock
from bus.consumer import Consumer, QueueStats
from bus.errors import BusDown, BusError, Refused
from bus.jobs import GROUP, LONGEST_WAIT, LOOK_BACK, Jobs, Mark, Note
from bus.keys import Keys, escape
from bus.lease import Fenced, Lease, Leases
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from bus.pipe import OnReply, Pipe
from bus.policy import RetryPolicy, Settlement
from bus.queue import Batch, Entry
from bus.scripts import load
from bus.window import Window
from tests.bus.test_consumer import Knock
from tests.conftest import open_pipe
from tests.servers import RedisSite

CHANNEL = "email"
USER = "alice:{x}"
REF = "4.shop/e:1"
QUICK = RetryPolicy(delays=(0.001, 0.001), jitter=0.0, outage=0.001)
LIMIT = 60.0


async def until(check: Callable[[], Any]) -> None:
    """Return when it is so; asked again and again, for what is waited for says nothing by itself."""
    while not (await found if isinstance(found := check(), Awaitable) else found):  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class Desk:
    """Handles jobs as the test says; each can be held."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.now: set[str] = set()
        self.most = 0
        self.rules: dict[str, Callable[[], Outcome]] = {}
        self.gates: dict[str, asyncio.Event] = {}
        self.before: Callable[[], Awaitable[None]] | None = None

    async def __call__(self, entries: Sequence[Entry]) -> Sequence[Outcome]:
        (entry,) = entries
        name = entry.fields[b"id"].decode()
        self.begun.append(name)
        self.now.add(name)
        self.most = max(self.most, len(self.now))
        try:
            if self.before is not None:
                await self.before()
            if name in self.gates:
                await self.gates[name].wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.now.discard(name)
        return [self.rules.get(name, Done)()]


@dataclass
class Notes:
    """What is told of each settlement; the last outcome and settlement of each job."""

    told: dict[str, tuple[Outcome, Settlement]]
    note: Callable[[Outcome], Note]

    def __call__(self, entry: Entry, outcome: Outcome, settlement: Settlement) -> Note:
        self.told[entry.fields.get(b"id", b"?").decode()] = (outcome, settlement)
        return self.note(outcome)


class Room:
    """One worker of the channel, on a partition of its own."""

    def __init__(self, pipe: Pipe, keys: Keys, lease: Lease, size: int = 8) -> None:
        self.pipe, self.keys, self.lease = pipe, keys, lease
        self.p = lease.partition
        self.desk, self.bell, self.stats = Desk(), Knock(), QueueStats()
        self.notes = Notes({}, lambda outcome: Note(USER, (REF,), "sent", "sent", "main"))
        self.window = Window(size)
        self.jobs = Jobs(
            pipe, keys, lease, CHANNEL, self.notes, SystemClock(), batch=max(1, size // 2), dead=100, ttl=100
        )
        self.consumer = Consumer(
            self.jobs, self.desk, QUICK, self.bell, self.stats, window=self.window, chance=lambda: 0.5
        )

    async def add(self, *names: str, **more: Any) -> list[str]:
        flat = [part for pair in more.items() for part in pair]
        stream = self.keys.jobs(self.p, CHANNEL)
        return [
            (await self.pipe.ask("XADD", stream, "*", "id", name, "n", 0, "x2", 0, *flat)).decode() for name in names
        ]

    async def waiting(self) -> int:
        """Jobs in the stream."""
        return int(await self.pipe.ask("XLEN", self.keys.jobs(self.p, CHANNEL)))

    async def only_one(self) -> bool:
        return await self.waiting() == 1

    async def later(self) -> int:
        return int(await self.pipe.ask("ZCARD", self.keys.later(self.p, CHANNEL)))

    async def dead(self) -> list[dict[bytes, bytes]]:
        found = await self.pipe.ask("XRANGE", self.keys.dead(self.p), "-", "+")
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in found]

    async def trail(self) -> list[dict[bytes, bytes]]:
        found = await self.pipe.ask("XRANGE", self.keys.trail(USER), "-", "+")
        return [dict(zip(flat[::2], flat[1::2], strict=True)) for _, flat in found]

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
            running = group.create_task(self.consumer.run())
            yield
            self.consumer.stop()
            await running

    async def idle(self) -> bool:
        """Whether nothing is in the stream and nothing waits; asked in one write, for a job goes to and fro."""
        places = (("XLEN", self.keys.jobs(self.p, CHANNEL)), ("ZCARD", self.keys.later(self.p, CHANNEL)))
        return sum(await self.pipe.asks(places)) == 0

    async def done(self) -> None:
        """Until there is nothing left to do."""
        await until(self.idle)

    async def take(self, room: int = 10) -> Batch:
        async with asyncio.timeout(LIMIT):
            batch = await self.jobs.take(room)
            return batch if batch.entries or not batch.pending else await self.jobs.take(room)

    async def settle(self, entry: Entry, outcome: Outcome) -> None:
        async with asyncio.timeout(LIMIT):
            await self.jobs.settle(Batch((entry,)), (outcome,), QUICK, 0.5)


async def lease_of(pipe: Pipe, keys: Keys, owner: str, ttl: float = 60) -> Lease:
    partition = keys.partition(USER)
    lease = (await Leases(pipe, keys, owner, ttl, CHANNEL).hold((partition,)))[partition]
    assert lease is not None
    return lease


@pytest_asyncio.fixture
async def room(any_server: RedisSite, keys: Keys) -> AsyncIterator[Room]:
    async with open_pipe(any_server.url) as pipe:
        yield Room(pipe, keys, await lease_of(pipe, keys, "w"))


# Many at once ----------------------------------------------------------------------------------------------------


async def test_many_are_worked_at_once_and_leave_nothing_behind(room: Room) -> None:
    await room.add(*(f"j{n}" for n in range(50)))
    async with room.working():
        await room.done()
    assert sorted(room.desk.begun) == sorted(f"j{n}" for n in range(50))
    assert 1 < room.desk.most <= 8
    assert (room.stats.taken, room.stats.acked, room.window.taken) == (50, 50, 0)
    assert (await room.pipe.ask("XPENDING", room.keys.jobs(room.p, CHANNEL), GROUP))[0] == 0


async def test_a_slow_one_holds_nobody_up(room: Room) -> None:
    room.desk.gates["slow"] = asyncio.Event()
    await room.add("slow", *"abcdefghijkl")
    async with room.working():
        await until(lambda: len(room.desk.begun) == 13 and len(room.desk.now) == 1)
        await until(room.only_one)
        room.desk.gates["slow"].set()
        await room.done()
    assert room.stats.acked == 13


async def test_to_stop_is_to_finish_what_is_under_way(room: Room) -> None:
    gate = room.desk.gates["a"] = asyncio.Event()
    await room.add("a")
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        running = group.create_task(room.consumer.run())
        await until(lambda: room.desk.now)
        room.consumer.stop()
        await room.add("b")
        gate.set()
        await running
    assert room.desk.begun == ["a"]
    assert await room.waiting() == 1


async def test_a_worker_that_is_stopped_while_the_window_is_full_takes_no_more(room: Room) -> None:
    names = [f"j{n}" for n in range(9)]
    room.desk.gates |= {name: asyncio.Event() for name in names}
    await room.add(*names)
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        running = group.create_task(room.consumer.run())
        await until(lambda: len(room.desk.now) == 8)
        room.consumer.stop()
        for gate in room.desk.gates.values():
            gate.set()
        await running
    assert (len(room.desk.begun), await room.waiting(), room.window.taken) == (8, 1, 0)


# Another time ----------------------------------------------------------------------------------------------------


async def test_what_failed_waits_apart_and_comes_again_with_its_attempts(room: Room) -> None:
    left = [2]

    def rule() -> Outcome:
        left[0] -= 1
        return Retry("it failed") if left[0] >= 0 else Done()

    room.desk.rules["a"] = rule
    await room.add("a", u=USER)
    async with room.working():
        await room.done()
    assert room.desk.begun == ["a"] * 3
    assert await room.dead() == []
    assert [entry[b"n"] for entry in await room.trail()] == [b"1", b"2", b"3"]
    assert room.stats.retried == 2


async def test_after_its_last_attempt_it_is_buried_with_what_it_was_and_nothing_else(room: Room) -> None:
    room.desk.rules["a"] = lambda: Retry("it failed")
    room.notes.note = lambda outcome: Note(USER, (REF,), "failed", "failed", "it failed")
    (entry,) = await room.add("a", u=USER)
    async with room.working():
        await room.done()
    (letter,) = await room.dead()
    told = {b"queue": b"jobs:email", b"reason": b"it failed", b"attempts": b"3"}
    assert letter.items() >= told.items()
    assert letter.keys() - told.keys() == {b"entry", b"id", b"n", b"x2", b"u", b"w"}
    assert letter[b"entry"].decode() >= entry
    assert room.stats.buried == 1
    counts = await room.pipe.ask("HGETALL", room.keys.counts(room.p, REF))
    assert counts == [b"email:failed", b"3"]


async def test_what_is_nobodys_fault_counts_no_attempt(room: Room) -> None:
    left = [5]

    def rule() -> Outcome:
        left[0] -= 1
        return Throttled(0.001, Scope.ENDPOINT, "away") if left[0] >= 0 else Done()

    room.desk.rules["a"] = rule
    await room.add("a")
    async with room.working():
        await room.done()
    assert room.desk.begun == ["a"] * 6
    assert [entry[b"n"] for entry in await room.trail()][-1] == b"1"


async def test_what_waits_tells_when_it_is_due(room: Room) -> None:
    await room.add("a")
    (entry,) = (await room.take()).entries
    began = SystemClock().monotonic()
    await room.settle(entry, Throttled(9.0, Scope.TARGET))
    batch = await room.take()
    assert batch.entries == ()
    assert batch.wait is not None
    assert 9 - (SystemClock().monotonic() - began) - 0.01 < batch.wait <= 9
    later = room.keys.later(room.p, CHANNEL)
    (packed, _) = await room.pipe.ask("ZRANGE", later, 0, -1, "WITHSCORES")
    await room.pipe.ask("ZADD", later, 0, packed)
    batch = await room.take()
    (again,) = batch.entries
    assert again.fields.items() >= {b"id": b"a", b"n": b"0", b"w": b"main"}.items()
    assert batch.wait == LONGEST_WAIT


async def test_what_has_no_time_left_for_another_attempt_is_given_up(room: Room) -> None:
    await room.pipe.ask(
        "XADD", room.keys.jobs(room.p, CHANNEL), "*", "id", "a", "n", 0, "x2", round((SystemClock().wall() + 5) * 1000)
    )
    (entry,) = (await room.take()).entries
    await room.settle(entry, Throttled(30.0, Scope.TARGET))
    assert (await room.waiting(), await room.later(), await room.dead()) == (0, 0, [])


async def test_wrong_rights_of_ours_put_a_job_off(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    room.desk.rules["a"] = lambda: Misconfigured("no key")
    await room.add("a")
    async with room.working():
        await until(room.later)
    assert "a partition rests" in caplog.text
    assert await room.dead() == []


# What is no job --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", [b"\xc1", b"text", b"\x92\xa1a\x80", b"\x91\xa1a", b"\x80", bytes(70_000)])
async def test_what_somebody_else_wrote_among_those_that_wait_holds_nobody_up(room: Room, member: bytes) -> None:
    room.desk.rules["?"] = lambda: Rejected("this is no job")
    await room.pipe.ask("ZADD", room.keys.later(room.p, CHANNEL), 1, member)
    await room.add("a")
    batch = await room.take()
    assert [entry.fields.get(b"id", b"?") for entry in batch.entries] == [b"a", b"?"]
    for entry in batch.entries:
        await room.settle(entry, room.desk.rules.get(entry.fields.get(b"id", b"?").decode(), Done)())
    assert [letter[b"reason"] for letter in await room.dead()] == [b"this is no job"]
    assert (await room.waiting(), await room.later()) == (0, 0)


@pytest.mark.parametrize("number", ["9" * 400, "9" * 5_000, "-1", "x", "1.5"])
@pytest.mark.parametrize("field", ["n", "x2"])
async def test_numbers_that_are_none_end_no_worker(room: Room, field: str, number: str) -> None:
    room.desk.rules["a"] = lambda: Rejected("this is no job")
    await room.add("a", **{field: number})
    async with room.working():
        await room.done()
    assert [letter[b"reason"] for letter in await room.dead()] == [b"this is no job"]


async def test_what_has_very_many_fields_can_be_buried_too(room: Room) -> None:
    room.desk.rules["a"] = lambda: Rejected("this is no job")
    await room.add("a", **{f"f{n}": n for n in range(10_000)})
    async with room.working():
        await room.done()
    (letter,) = await room.dead()
    assert len(letter) < 120


@pytest.mark.parametrize("outcome", [Retry("it failed"), Rejected("bad")])
async def test_a_job_that_cannot_be_put_elsewhere_stays(room: Room, outcome: Outcome) -> None:
    await room.add("a")
    (entry,) = (await room.take()).entries
    for key in (room.keys.later(room.p, CHANNEL), room.keys.dead(room.p)):
        await room.pipe.ask("SET", key, "of another type")
    with pytest.raises(Refused):
        await room.settle(entry, outcome)
    assert await room.waiting() == 1


async def test_devices_that_are_none_leave_nobody_reachable(room: Room) -> None:
    device, gone = b'{"state":"active"}', b'{"state":"gone"}'
    room.notes.note = lambda outcome: Note(USER, (REF,), "gone", "gone", "", Mark("d", gone, "d", device, device=True))
    room.jobs._channel = "push"
    await room.pipe.ask("HSET", room.keys.devices(USER), "d", device, "x", "no JSON", "y", "[]", "z", "7")
    await room.add("a")
    (entry,) = (await room.take()).entries
    await room.settle(entry, Gone("410"))
    assert [(one[b"k"], one[b"r"]) for one in await room.trail()] == [(b"gone", b""), (b"failed", b"no device is left")]


# What is told ----------------------------------------------------------------------------------------------------


async def test_the_trail_the_counts_and_the_target_are_told_in_the_same_step(room: Room) -> None:
    refs = (REF, "4.shop/e2")
    device = json.dumps({"state": "active"}).encode()
    after = json.dumps({"state": "gone"}).encode()
    mark = Mark("d1", after, "d1", device, device=True)
    room.notes.note = lambda outcome: Note(USER, refs, "sent", "sent", "main", mark)
    await room.pipe.ask("HSET", room.keys.devices(USER), "d1", device)
    await room.add("a")
    (entry,) = (await room.take()).entries
    await room.settle(entry, Done())
    told = {b"k": b"sent", b"c": b"email", b"r": b"main", b"n": b"1"}
    assert await room.trail() == [told | {b"e": escape(ref).encode()} for ref in refs]
    for ref in refs:
        key = room.keys.counts(room.p, ref)
        assert await room.pipe.ask("HGETALL", key) == [b"email:sent", b"1"]
        assert 0 < await room.pipe.ask("TTL", key) <= 100
    assert 0 < await room.pipe.ask("TTL", room.keys.trail(USER)) <= 100
    assert await room.pipe.ask("HGET", room.keys.devices(USER), "d1") == after


async def test_a_target_that_changed_meanwhile_stays_as_it_is(room: Room) -> None:
    room.notes.note = lambda outcome: Note(USER, mark=Mark("gone_email", b"old", "email", b"old", device=False))
    await room.pipe.ask("HSET", room.keys.profile(USER), "email", "new")
    await room.add("a")
    (entry,) = (await room.take()).entries
    await room.settle(entry, Gone("no such mailbox"))
    assert await room.pipe.ask("HGETALL", room.keys.profile(USER)) == [b"email", b"new"]


async def test_when_the_last_device_goes_the_trail_says_so(any_server: RedisSite, keys: Keys) -> None:
    async with open_pipe(any_server.url) as pipe:
        p = keys.partition(USER)
        lease = (await Leases(pipe, keys, "w", 60, "push").hold((p,)))[p]
        assert lease is not None
        active, gone = b'{"state":"active"}', b'{"state":"gone"}'
        for device, left in (("d1", 1), ("d2", 0)):

            def scribe(entry: Entry, outcome: Outcome, settlement: Settlement, device: str = device) -> Note:
                return Note(USER, (REF,), "gone", "gone", "410", Mark(device, gone, device, active, device=True))

            await pipe.ask("HSET", keys.devices(USER), device, active, *(("d2", active) if left else ()))
            jobs = Jobs(pipe, keys, lease, "push", scribe, SystemClock(), batch=1, dead=10, ttl=100)
            await pipe.ask("XADD", keys.jobs(p, "push"), "*", "id", device)
            (entry,) = (await jobs.take(1)).entries
            await jobs.settle(Batch((entry,)), (Gone("410"),), QUICK, 0.5)
        told = [
            dict(zip(flat[::2], flat[1::2], strict=True))
            for _, flat in await pipe.ask("XRANGE", keys.trail(USER), "-", "+")
        ]
        assert [(one[b"k"], one[b"r"]) for one in told] == [
            (b"gone", b"410"),
            (b"gone", b"410"),
            (b"failed", b"no device is left"),
        ]


async def test_of_what_is_no_job_nothing_is_told(room: Room) -> None:
    room.notes.note = lambda outcome: Note()
    await room.add("a")
    (entry,) = (await room.take()).entries
    await room.settle(entry, Rejected("this is no job"))
    assert await room.trail() == []
    assert [letter[b"reason"] for letter in await room.dead()] == [b"this is no job"]


# Once, and by who has the lease ----------------------------------------------------------------------------------


async def test_a_settlement_that_is_repeated_changes_nothing(room: Room) -> None:
    await room.add("a")
    (entry,) = (await room.take()).entries
    await room.settle(entry, Retry("it failed"))
    await room.settle(entry, Retry("it failed"))
    assert (await room.later(), len(await room.trail())) == (1, 1)


async def test_who_lost_the_lease_can_do_nothing(room: Room) -> None:
    await room.add("a", "b")
    (entry,) = (await room.take(1)).entries
    await room.pipe.ask("SET", room.keys.jobs_lease(room.p, CHANNEL), "other 9")
    with pytest.raises(Fenced):
        await room.settle(entry, Done())
    with pytest.raises(Fenced):
        await room.take()
    successor = Room(room.pipe, room.keys, Lease(room.p, "other", 9))
    batch = await successor.take(1)
    assert (batch.entries[0].fields, batch.entries[0].deaths, batch.pending) == (entry.fields, 1, True)


async def test_a_lost_lease_ends_the_loop(room: Room) -> None:
    await room.add("a")

    async def lose() -> None:
        await room.pipe.ask("SET", room.keys.jobs_lease(room.p, CHANNEL), "other 9")

    room.desk.before = lose
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(LIMIT):
            await room.consumer.run()
    assert caught.group_contains(Fenced)
    assert await room.waiting() == 1


# After a death ---------------------------------------------------------------------------------------------------


async def successor_of(room: Room) -> Room:
    """The next owner, after the one before ended without a word."""
    await room.pipe.ask("DEL", room.keys.jobs_lease(room.p, CHANNEL))
    return Room(room.pipe, room.keys, await lease_of(room.pipe, room.keys, "next"))


async def test_what_the_dead_had_comes_first(room: Room) -> None:
    await room.add("a", "b")
    await room.take(2)
    await room.add("c")
    heir = await successor_of(room)
    async with heir.working():
        await heir.done()
    assert sorted(heir.desk.begun[:2]) == ["a", "b"]
    assert heir.stats.acked == 3


async def test_over_what_several_workers_ended_is_worked_alone_and_then_buried(room: Room) -> None:
    await room.add("poison", "fine")
    owner = room
    for _ in range(2):  # both were there when two workers ended
        await owner.take(2)
        owner = await successor_of(owner)
    await owner.add(*"abcdef")
    owner.desk.gates["poison"] = asyncio.Event()
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        running = group.create_task(owner.consumer.run())
        await until(lambda: owner.desk.now)
        for _ in range(20):
            await owner.pipe.ask("PING")
        assert (owner.desk.begun, owner.window.taken) == (["poison"], 8)
        running.cancel()  # the third
    heir = await successor_of(owner)
    async with heir.working():
        await heir.done()
    assert "poison" not in heir.desk.begun
    assert heir.desk.begun.count("fine") == 1
    assert sorted(heir.desk.begun) == sorted(["fine", *"abcdef"])
    (letter,) = await heir.dead()
    assert (letter[b"id"], letter[b"reason"]) == (b"poison", b"3 workers ended while they had it")


async def test_a_pending_job_that_was_deleted_is_passed_over(room: Room) -> None:
    first, _ = await room.add("a", "b")
    await room.take(2)
    await room.pipe.ask("XDEL", room.keys.jobs(room.p, CHANNEL), first)
    heir = await successor_of(room)
    async with heir.working():
        await heir.done()
    assert heir.desk.begun == ["b"]
    assert (await heir.pipe.ask("XPENDING", heir.keys.jobs(heir.p, CHANNEL), GROUP))[0] == 0


# Trouble of Redis ------------------------------------------------------------------------------------------------


class Flaky(Pipe):
    """A pipe that loses the replies of some scripts, after they ran, or has them refused."""

    def __init__(self, inner: Pipe) -> None:
        self._inner = inner
        self.instead: dict[str, list[BusError]] = {}

    def post(self, args: Sequence[Any], on_reply: OnReply) -> None:
        errors = next((errors for name, errors in self.instead.items() if load(name).sha in args), [])
        if errors:
            error = errors.pop()
            self._inner.post(args, lambda _: on_reply(error))
        else:
            self._inner.post(args, on_reply)


@pytest_asyncio.fixture
async def flaky(room: Room) -> Room:
    return Room(Flaky(room.pipe), room.keys, room.lease)


async def test_jobs_whose_giving_was_lost_are_found(flaky: Room) -> None:
    assert isinstance(flaky.pipe, Flaky)
    flaky.pipe.instead["take_jobs"] = [BusDown("lost")]
    await flaky.add("a", "b")
    async with flaky.working():
        await flaky.done()
    assert sorted(flaky.desk.begun) == ["a", "b"]
    assert flaky.stats.bus_failures == 1


async def test_a_job_whose_settlement_a_failover_took_is_found(room: Room) -> None:
    """We think that it is done, and Redis that we are at it; no command failed that could have told us."""

    class Stepped(SystemClock):
        ahead = 0.0

        def monotonic(self) -> float:
            return super().monotonic() + self.ahead

    clock, stream = Stepped(), room.keys.jobs(room.p, CHANNEL)
    jobs = Jobs(room.pipe, room.keys, room.lease, CHANNEL, room.notes, clock, batch=4, dead=100, ttl=100)
    await room.add("b")
    assert len((await jobs.take(4)).entries) == 1
    await room.add("a")
    await room.pipe.ask("XREADGROUP", "GROUP", GROUP, f"p{room.p}", "STREAMS", stream, ">")
    found = await jobs.take(4)
    assert (found.entries, found.wait) == ((), LONGEST_WAIT)
    clock.ahead = LOOK_BACK
    assert (await jobs.take(4)).pending
    assert [entry.fields[b"id"] for entry in (await jobs.take(4)).entries] == [b"a"]
    clock.ahead = 2 * LOOK_BACK
    assert (await jobs.take(4)).entries == ()  # it is under way


async def test_an_outcome_outlives_an_outage(flaky: Room) -> None:
    assert isinstance(flaky.pipe, Flaky)
    flaky.pipe.instead["settle_job"] = [BusDown("lost")] * 3
    await flaky.add("a")
    async with flaky.working():
        await flaky.done()
        await until(lambda: flaky.stats.acked)
    assert flaky.desk.begun == ["a"]
    assert len(await flaky.trail()) == 1


async def test_a_job_that_cannot_be_settled_is_left_to_the_next(flaky: Room, caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(flaky.pipe, Flaky)
    flaky.pipe.instead["settle_job"] = [Refused("ERR something of this one")]
    await flaky.add("a", "b")
    async with flaky.working():
        await flaky.done()
        await until(lambda: flaky.stats.acked)
    assert "an entry cannot be settled" in caplog.text
    assert flaky.window.taken == 0


async def test_a_bug_in_the_handler_is_charged_to_its_own_job(room: Room) -> None:
    def bug() -> Outcome:
        raise ValueError("a secret of the message")

    room.desk.rules["a"] = bug
    await room.add("a", "b")
    async with room.working():
        await room.done()
    (letter,) = await room.dead()
    assert letter[b"id"] == b"a"
    assert letter[b"reason"].startswith(b"ValueError in ")
    assert b"secret" not in letter[b"reason"]


# Taken past others, and forgotten by a failover ------------------------------------------------------------------


async def picked_and_forgotten(room: Room) -> tuple[list[str], list[Entry]]:
    """The ids of four jobs, of which two were picked by their source on a master whose replica had not heard of it."""
    stream = room.keys.jobs(room.p, CHANNEL)
    ids = [*await room.add("a", "b", e="4.shop/1"), *await room.add("c", "d", e="4.mail/1")]
    entries = list((await room.jobs.take(2)).entries)
    assert room.jobs.crowded
    assert await room.jobs.look() == {"mail": 2}
    entries += (await room.jobs.pick("mail", 2)).entries
    assert [entry.id for entry in entries] == ids
    assert await room.jobs.look() == {}  # all were taken: whoever takes the next begins behind them
    await room.pipe.ask("XACK", stream, GROUP, *ids[2:])
    return ids, entries


async def test_a_job_of_which_nobody_knows_any_more_that_it_was_taken_is_settled_all_the_same(room: Room) -> None:
    _, entries = await picked_and_forgotten(room)
    for entry in entries:
        await room.jobs.settle(Batch((entry,)), [Done()], QUICK, 0.5)
    assert await room.waiting() == 0
    assert sorted(room.notes.told) == ["a", "b", "c", "d"]


async def test_a_job_of_which_nobody_knows_any_more_that_it_was_taken_is_found_by_the_next_owner(room: Room) -> None:
    ids, _ = await picked_and_forgotten(room)
    assert (await room.jobs.take(2)).entries == ()  # they are held here, and moved past
    after = Room(room.pipe, room.keys, room.lease)
    assert (await after.jobs.take(8)).pending
    assert [entry.id for entry in (await after.jobs.take(8)).entries] == ids
