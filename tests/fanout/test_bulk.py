"""The bulk lane on a real Redis: followers get what their topic gets, once, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import chain, count, islice
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bus.clock import SystemClock
from bus.codec import encode_content
from bus.dead import Graveyard
from bus.errors import BusDown
from bus.event import Event
from bus.keys import Keys, escape, inbox_of
from bus.lease import Fenced, Lease
from bus.namespaces import Namespaces
from bus.outcome import Done, Expired, Outcome, Rejected, Unavailable
from bus.people.devices import Device
from bus.people.followers import Followers
from bus.pipe import Pipe
from bus.queue import Entry
from bus.walk import Follow, Walk, Withdraw, fields
from fanout.alarm import Alarm
from fanout.audience import Retention, Rules
from fanout.bulk import CHUNK, Walker
from fanout.graves import Graves
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.stats import Stats
from fanout.withdrawal import Withdrawal
from tests.conftest import open_pipe
from tests.fanout.stand import Node, acknowledged, running_worker, send, settings_for
from tests.servers import RedisSite

TOPIC = "news:a"
P = 3
EVENT = Event("1", "shop", "x", 0.0, data="for all")


def people(keys: Keys, number: int, partition: int = P) -> list[str]:
    """So many users who live in one partition, in the order in which they are walked."""
    names = (f"user{n}" for n in count())
    return sorted(islice((name for name in names if keys.partition(inbox_of(name)) == partition), number))


async def until(true: Callable[[], Awaitable[Any]]) -> None:
    """Ask Redis until it is so; the test's own timeout bounds it."""
    while not await true():  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0.005)


class Giving(Publisher):
    """A publisher that notes whom it gave to, and can be made to fail."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.given: list[list[str]] = []
        self.breaks_at = -1
        self.says: Outcome | None = None

    async def give(self, current: Current, users: Sequence[str]) -> Outcome:
        if len(self.given) == self.breaks_at:
            self.breaks_at = -1
            raise BusDown("gone")
        if self.says is not None:
            return self.says
        self.given.append(list(users))
        return await super().give(current, users)


class Stand:
    """A walker of one partition, with its lease."""

    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self.pipe, self.keys, self.stats = pipe, keys, Stats()
        clock, settings = SystemClock(), settings_for("redis://127.0.0.1:1/0", keys)
        rules = Rules(keys, Namespaces({}), Retention(1_000, 3_600))
        ring = Alarm(pipe, keys, "w").ring
        self.publisher = Giving(pipe, rules, settings, Graves(clock, 60), clock, self.stats, ring)
        withdrawal = Withdrawal(pipe, keys, P, self.publisher, settings, clock)
        self._parts = (self.publisher, withdrawal, settings, clock, self.stats, asyncio.Semaphore(1))
        self.walker = self.owned_by("w", 1)

    def owned_by(self, owner: str, fence: int) -> Walker:
        return Walker(self.pipe, self.keys, Lease(P, owner, fence), *self._parts)

    async def begin(self, number: int) -> list[str]:
        """Take the lease, and let so many follow the topic that the event is for."""
        users = people(self.keys, number)
        await self.pipe.script("lease", (self.keys.lease(P), self.keys.head(P)), ("w", 60_000))
        await Followers(self.pipe, self.keys).follow(TOPIC, users)
        body = self.keys.body(P, EVENT.ref)
        await self.pipe.ask("HSET", body, "e", encode_content(EVENT), "x", 4_000_000_000_000)
        return users

    async def walk(self, walk: Walk | None = None, entry_id: str = "1-0", by: Walker | None = None) -> Outcome:
        flat = [part.encode() for part in fields(walk or Follow(EVENT.ref, TOPIC))]
        entry = Entry(entry_id, dict(zip(flat[::2], flat[1::2], strict=True)))
        (outcome,) = await (by or self.walker).handle([entry])
        return outcome

    async def given(self, users: Sequence[str]) -> list[int]:
        """How many notifications each has."""
        return await self.pipe.asks(("XLEN", self.keys.log(inbox_of(user))) for user in users)


@pytest_asyncio.fixture
async def pipe(redis_server: RedisSite) -> AsyncIterator[Pipe]:
    async with open_pipe(redis_server.url) as pipe:
        yield pipe


@pytest_asyncio.fixture
async def stand(pipe: Pipe, keys: Keys) -> AsyncIterator[Stand]:
    async with asyncio.timeout(60):
        yield Stand(pipe, keys)


async def test_a_walk_gives_the_event_to_every_follower_once(stand: Stand) -> None:
    users = await stand.begin(2 * CHUNK + 50)
    assert await stand.walk() == Done()
    assert [len(chunk) for chunk in stand.publisher.given] == [CHUNK, CHUNK, 50]
    assert await stand.given(users) == [1] * len(users)
    assert await stand.walk() == Done()  # the entry again: nothing is left to do
    assert await stand.walk(entry_id="2-0") == Done()  # the same event by another topic, say
    assert await stand.given(users) == [1] * len(users)
    assert stand.stats.followers == 2 * len(users)


async def test_a_walk_goes_on_after_a_crash_where_it_was(stand: Stand) -> None:
    users = await stand.begin(3 * CHUNK)
    stand.publisher.breaks_at = 2
    with pytest.raises(BusDown):
        await stand.walk()
    stand.publisher.given.clear()
    assert await stand.walk(by=stand.owned_by("w", 1)) == Done()
    assert list(chain(*stand.publisher.given)) == users[2 * CHUNK :]
    assert await stand.given(users) == [1] * len(users)


async def test_an_owner_that_lost_its_lease_stops(stand: Stand) -> None:
    await stand.begin(1)
    with pytest.raises(Fenced):
        await stand.walk(by=stand.owned_by("other", 9))
    assert stand.publisher.given == []


async def test_an_outage_holds_the_walk_up_and_nothing_is_skipped(stand: Stand) -> None:
    users = await stand.begin(CHUNK + 1)
    stand.publisher.says = Unavailable("BusDown")
    assert await stand.walk() == Unavailable("BusDown")
    stand.publisher.says = None
    assert await stand.walk() == Done()
    assert await stand.given(users) == [1] * len(users)


async def test_what_is_withdrawn_or_over_reaches_nobody(stand: Stand) -> None:
    users = await stand.begin(1)
    body = stand.keys.body(P, EVENT.ref)
    await stand.pipe.ask("HSET", body, "x", 1_000)
    assert await stand.walk() == Expired()
    await stand.pipe.ask("HSET", body, "x", 4_000_000_000_000)
    await stand.pipe.ask("HDEL", body, "e")
    assert await stand.walk() == Expired()
    assert await stand.given(users) == [0]


async def test_one_whose_inbox_is_broken_is_buried_alone_and_can_be_sent_again(
    stand: Stand, redis_server: RedisSite
) -> None:
    users = await stand.begin(CHUNK + 5)
    keys, broken = stand.keys, users[1]
    await stand.pipe.ask("SET", keys.meta(inbox_of(broken)), "x")
    assert await stand.walk() == Done()
    assert stand.stats.queues.buried == 1
    others = [user for user in users if user != broken]
    assert await stand.given(others) == [1] * len(others)
    graves = Graveyard(stand.pipe, keys)
    (letter,) = await graves.ls()
    assert letter.reason == "1 recipient(s) have keys of another type"
    assert orjson.loads(letter.fields[b"e"])["to"] == {"users": [broken]}
    await stand.pipe.ask("DEL", keys.meta(inbox_of(broken)))
    await graves.replay(letter.name)
    await stand.pipe.ask("DEL", keys.lease(P))
    async with running_worker(settings_for(redis_server.url, keys)):
        await until(lambda: stand.pipe.ask("XLEN", keys.log(inbox_of(broken))))
    assert await stand.given(users) == [1] * len(users)


async def test_what_is_no_walk_is_refused_and_the_rest_goes_on(stand: Stand) -> None:
    users = await stand.begin(1)
    flat = [part.encode() for part in fields(Follow(EVENT.ref, TOPIC))]
    good = dict(zip(flat[::2], flat[1::2], strict=True))
    outcomes = await stand.walker.handle([Entry("1-0", {b"k": b"stroll"}), Entry("2-0", good)])
    assert outcomes == [Rejected("this is no walk"), Done()]
    assert await stand.given(users) == [1]


# A whole worker --------------------------------------------------------------------------------------------------


async def test_a_person_reached_in_several_ways_gets_it_once(pipe: Pipe, keys: Keys, redis_server: RedisSite) -> None:
    async with asyncio.timeout(60):
        followers = Followers(pipe, keys)
        users = [f"user{n}" for n in range(40)]
        await followers.follow("news:a", users)
        await followers.follow("news:b", users[:20])
        to = {"users": ["user0", "stranger"], "topics": ["news:a", "news:b", "news:c"]}
        async with running_worker(settings_for(redis_server.url, keys)):
            await send(pipe, keys, {"type": "x", "to": to, "id": "1"})
            everybody = [*users, "stranger"]
            logs = [keys.log(inbox_of(user)) for user in everybody]
            await until(lambda: all_of(pipe, logs))
            await until(lambda: drained(pipe, keys))
        assert await pipe.asks(("XLEN", log) for log in logs) == [1] * len(everybody)
        again = await pipe.ask("XRANGE", keys.trail("user0"), "-", "+")
        assert b"duplicate" in {flat[flat.index(b"r") + 1] for _, flat in again}


async def test_where_nobody_follows_nothing_is_walked(pipe: Pipe, keys: Keys, redis_server: RedisSite) -> None:
    async with asyncio.timeout(60):
        (follower,) = people(keys, 1)
        await Followers(pipe, keys).follow(TOPIC, [follower])
        async with running_worker(settings_for(redis_server.url, keys)):
            await send(pipe, keys, {"type": "x", "to": {"topics": [TOPIC]}, "id": "1"})
            await until(lambda: pipe.ask("EXISTS", keys.log(inbox_of(follower))))
        walks = await pipe.asks(("XLEN", keys.bulk(p)) for p in range(keys.partitions))
        assert walks == [int(p == P) for p in range(keys.partitions)]


async def all_of(pipe: Pipe, logs: list[str]) -> bool:
    return all(await pipe.asks(("EXISTS", log) for log in logs))


async def drained(pipe: Pipe, keys: Keys) -> bool:
    """Whether no walk is left to be worked."""
    return await acknowledged(pipe, ((keys.bulk(p), keys.bulk_head(p)) for p in range(keys.partitions)))


async def test_a_large_topic_does_not_delay_an_event_for_one_person(
    pipe: Pipe, keys: Keys, redis_server: RedisSite
) -> None:
    async with asyncio.timeout(60):
        users = people(keys, 5_001)
        alone, crowd = users[0], users[1:]
        await Followers(pipe, keys).follow(TOPIC, crowd)
        node = Node(pipe, keys)
        await node.listen(inbox_of(alone))
        async with running_worker(settings_for(redis_server.url, keys)):
            event = Event("1", "xadd", "x", 0.0)
            await send(pipe, keys, {"type": "x", "to": {"topics": [TOPIC]}, "id": "1", "source": "xadd"})
            seen = keys.seen(P, event.ref)
            await until(lambda: pipe.ask("HLEN", seen))
            await send(pipe, keys, {"type": "x", "to": {"users": [alone]}, "id": "code"}, P)
            await node.entries()
            assert await pipe.ask("HLEN", seen) < len(crowd)  # the crowd is still being served
            await until(lambda: drained(pipe, keys))
        assert await pipe.ask("HLEN", seen) == len(crowd)


async def test_a_walk_is_ended_by_the_next_worker(pipe: Pipe, keys: Keys, redis_server: RedisSite) -> None:
    async with asyncio.timeout(60):
        users = people(keys, 2_000)
        await Followers(pipe, keys).follow(TOPIC, users)
        settings = settings_for(redis_server.url, keys, stop_timeout=0.0, worker_ttl=0.8, lease_ttl=0.8)
        await send(pipe, keys, {"type": "x", "to": {"topics": [TOPIC]}, "id": "1", "source": "xadd"})
        seen = keys.seen(P, Event("1", "xadd", "x", 0.0).ref)
        async with running_worker(settings):
            await until(lambda: pipe.ask("HLEN", seen))
        first = await pipe.ask("HLEN", seen)
        async with running_worker(settings):
            await until(lambda: drained(pipe, keys))
        assert 0 < first <= len(users)
        assert await pipe.ask("HLEN", seen) == len(users)
        logs = await pipe.asks(("XLEN", keys.log(inbox_of(user))) for user in users)
        assert set(logs) == {1}


async def test_one_persons_broken_keys_keep_a_withdrawal_from_nobody_else(stand: Stand) -> None:
    keys, ask = stand.keys, stand.pipe.ask
    users = await stand.begin(4)
    assert await stand.walk() == Done()
    await ask("HSET", keys.counts(P, EVENT.ref), "push:sent", 4)
    for user in users:
        told = ("e", escape(EVENT.ref), "k", "sent", "c", "push", "r", "", "n", 1)
        await ask("XADD", keys.trail(user), "*", *told)
        await ask("HSET", keys.devices(user), "d1", Device("d1", "fcm", "sealed").to_json())
    await ask("SET", keys.trail(users[0]), "of another type")
    await ask("HSET", keys.devices(users[1]), "d0", "no JSON", "d2", "[]")
    await ask("DEL", keys.devices(users[2]))
    await ask("SET", keys.devices(users[2]), "of another type")
    assert await stand.walk(Withdraw(EVENT.ref)) == Done()
    jobs = [flat[flat.index(b"u") + 1] for _, flat in await ask("XRANGE", keys.jobs(P, "push"), "-", "+")]
    assert jobs == [users[1].encode(), users[3].encode()]
    assert await stand.given(users[1:]) == [2, 2, 2], "each was told of it"
