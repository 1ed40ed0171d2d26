"""Events given again to a partition that came back on another server without them: once, in order, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
import pytest_asyncio

from bus.clock import SystemClock
from bus.errors import BusDown
from bus.generation import FIRST, Generations
from bus.keys import Keys, unescape
from bus.lease import Fenced, Lease, Leases
from bus.namespaces import Namespaces
from bus.outcome import Done, Unavailable
from bus.people.followers import Followers
from bus.pipe import ALL_SLOTS, Pipe, Server
from bus.policy import FANOUT
from bus.queue import Queue
from fanout import replay as module
from fanout import worker
from fanout.alarm import Alarm
from fanout.audience import Retention, Rules
from fanout.graves import Graves
from fanout.look import look
from fanout.plan import Current
from fanout.publisher import Publisher
from fanout.replay import Replay
from fanout.settings import FanoutSettings
from fanout.stats import Stats
from tests.conftest import open_pipe
from tests.fanout.stand import Node, data_of, running_worker, send, settings_for
from tests.servers import RedisSite


def person(keys: Keys, partition: int) -> str:
    """Somebody who lives there."""
    return next(f"user{n}" for n in range(10_000) if keys.partition(f"user{n}") == partition)


async def forget(pipe: Pipe, keys: Keys, partition: int) -> None:
    """The partition is on another server, which knows nothing of what came lately."""
    head = keys.tagged(partition)
    found = await pipe.ask("KEYS", keys.tagged(partition, "*").replace("[", "\\["))
    stays = ("lease", "head", "bulk_head", "events", "generation")
    for key in found:
        name = key.decode().removeprefix(head + ":")
        if name not in stays and not name.endswith((":members", ":routes", ":follows")):
            await pipe.ask("DEL", key)
    await begin(pipe, keys, partition, "2gab", "b", was="a")


async def begin(pipe: Pipe, keys: Keys, partition: int, name: str, server: str, was: str, before: str = FIRST) -> None:
    fields = ("n", name[0], "name", name, "server", server, "before", before, "was", was)
    await pipe.ask("HSET", keys.generation(partition), *fields)


@dataclass
class Stand:
    """The work on partition 0, of which every other one may forget what it was given."""

    pipe: Pipe
    keys: Keys
    lease: Lease
    keep: float = 60.0
    stats: Stats = field(default_factory=Stats)

    def __post_init__(self) -> None:
        clock, settings = SystemClock(), FanoutSettings()
        rules = Rules(self.keys, Namespaces({}), Retention(1_000, 3_600))
        alarm = Alarm(self.pipe, self.keys, "w")
        self.publisher = Publisher(self.pipe, rules, settings, Graves(clock, 60), clock, self.stats, alarm.ring)
        self.generations = Generations(self.keys)
        self.queue = Queue(self.pipe, self.keys, self.lease, batch=100, keep=self.keep, dead=100)
        self.replay = self.another()

    def another(self) -> Replay:
        """That of the next owner."""
        generations, clock = self.generations, SystemClock()
        return Replay(self.pipe, self.keys, self.lease, self.publisher, generations, clock, self.stats, keep=self.keep)

    async def send(self, *events: dict[str, Any]) -> None:
        for event in events:
            await send(self.pipe, self.keys, {"type": "x", **event}, partition=0)

    async def work(self, settle: bool = True) -> list[Any]:
        """What a worker does with what came."""
        batch = await self.queue.take(100)
        looked = [look(entry, 0, SystemClock().wall()) for entry in batch.entries]
        async with self.replay.turn(batch.entries) as generations:
            currents = [item for item in looked if isinstance(item, Current)]
            outcomes = await self.publisher.publish(currents, generations)
            self.replay.note(outcomes)
        if settle:
            await self.queue.settle(batch, outcomes, FANOUT, 0.5)
        return outcomes

    async def inbox(self, user: str) -> list[Any]:
        _, _, found = await Node(self.pipe, self.keys).read(f"@{user}", 0)
        return [orjson.loads(b"{" + publication + b"}")["data"]["id"] for publication in found]

    async def given(self) -> list[str]:
        """The generations under which all was given that is acknowledged."""
        return [name.decode() for name in (await self.pipe.ask("HGET", self.keys.head(0), "given")).split()]


@pytest_asyncio.fixture
async def pipe(redis_server: RedisSite) -> AsyncIterator[Pipe]:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        yield pipe


@pytest_asyncio.fixture
async def stand(pipe: Pipe, keys: Keys) -> Stand:
    lease = (await Leases(pipe, keys, "w", 60).hold([0]))[0]
    assert lease is not None
    stand = Stand(pipe, keys, lease)
    await stand.generations(pipe.asks, Server("a"), ALL_SLOTS)
    return stand


async def test_what_was_acknowledged_is_given_again_where_it_was_lost(stand: Stand) -> None:
    pipe, keys = stand.pipe, stand.keys
    lost, other = person(keys, 3), person(keys, 5)
    await stand.send(*({"id": f"e{n}", "to": {"users": [lost, other]}} for n in range(120)))
    await stand.work()
    await stand.work()
    assert await stand.given() == [FIRST] * keys.partitions
    await forget(pipe, keys, 3)
    await stand.generations.look(pipe)
    await stand.send({"id": "new", "to": {"users": [lost, other]}})
    await stand.work()
    expected = [*(f"e{n}" for n in range(120)), "new"]
    assert await stand.inbox(lost) == expected, "in the old order, and before all that is new"
    assert await stand.inbox(other) == expected
    assert stand.stats.replayed == 120
    assert (await stand.given())[3] == "2gab"
    assert [type(outcome) for outcome in await stand.work()] == []
    assert stand.stats.replayed == 120, "only once"


async def test_somebody_who_can_be_given_nothing_holds_up_nobody(stand: Stand) -> None:
    """Their events were buried when they came first, and stand in what is given again all the same."""
    pipe, keys = stand.pipe, stand.keys
    user, other = person(keys, 3), next(f"other{n}" for n in range(1_000) if keys.partition(f"other{n}") == 3)
    await stand.send(*({"id": f"e{n}", "to": {"users": [user, other]}} for n in range(3)))
    await stand.work()
    await forget(pipe, keys, 3)
    await pipe.ask("SET", keys.meta(f"@{user}"), "of another type")
    await stand.generations.look(pipe)
    await stand.send({"id": "new", "to": {"users": [other]}})
    async with asyncio.timeout(60):
        assert await stand.work() == [Done()]
    assert await stand.inbox(other) == ["e0", "e1", "e2", "new"]


async def test_who_still_has_it_is_not_given_it_twice(stand: Stand) -> None:
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work()
    await begin(stand.pipe, stand.keys, 3, "2gab", "b", was="a")
    await stand.generations.look(stand.pipe)
    async with stand.replay.turn(()):
        pass
    assert (await stand.inbox(user), stand.stats.replayed) == (["e1"], 1)


async def test_followers_of_a_topic_that_lives_elsewhere_get_it_again(stand: Stand) -> None:
    pipe, keys = stand.pipe, stand.keys
    topic = next(f"news:{n}" for n in range(100) if keys.partition(f"news:{n}") == 5)
    user = person(keys, 3)
    await Followers(pipe, keys).follow(topic, [user])
    await stand.send({"id": "e1", "to": {"topics": [topic]}})
    await stand.work()
    assert await pipe.ask("XLEN", keys.bulk(3)) == 1
    await forget(pipe, keys, 3)
    await stand.generations.look(pipe)
    async with stand.replay.turn(()):
        pass
    assert await pipe.ask("XLEN", keys.bulk(3)) == 1, "the walk over those who live there begins again"
    assert (await Node(pipe, keys).read(topic, 0))[1] == 1


async def test_what_was_for_the_moment_or_is_withdrawn_is_not_given_again(stand: Stand) -> None:
    pipe, keys = stand.pipe, stand.keys
    user = person(keys, 3)
    await stand.send(
        {"id": "e1", "to": {"users": [user]}, "ephemeral": True},
        {"id": "e2", "to": {"users": [user]}},
        {"id": "e3", "to": {"users": [user]}},
    )
    await stand.work()
    (_, fields), _ = await pipe.ask("XRANGE", keys.log(f"@{user}"), "-", "+")
    await pipe.ask("SET", keys.withdrawn(0, unescape(fields[1].decode())), 1)
    await forget(pipe, keys, 3)
    await stand.generations.look(pipe)
    async with stand.replay.turn(()):
        pass
    assert await stand.inbox(user) == ["e3"]


async def test_what_was_acknowledged_long_ago_is_not_given_again(pipe: Pipe, keys: Keys) -> None:
    lease = (await Leases(pipe, keys, "w", 60).hold([0]))[0]
    assert lease is not None
    stand = Stand(pipe, keys, lease, keep=0.05)
    await stand.generations(pipe.asks, Server("a"), ALL_SLOTS)
    user = person(keys, 3)
    for number in range(5):
        await stand.send({"id": f"e{number}", "to": {"users": [user]}})
    await stand.work()
    await asyncio.sleep(0.06)
    await forget(pipe, keys, 3)
    await stand.generations.look(pipe)
    async with stand.replay.turn(()):
        pass
    assert (await stand.inbox(user), stand.stats.replayed) == ([], 0), "they are in the stream, but not in the window"
    assert await pipe.ask("XLEN", keys.events(0)) == 5


async def test_the_next_owner_gives_again_what_the_last_one_could_not(stand: Stand) -> None:
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work()
    await forget(stand.pipe, stand.keys, 3)
    stand.replay = stand.another()
    await stand.send({"id": "e2", "to": {"users": [user]}})
    await stand.work()
    assert await stand.inbox(user) == ["e1", "e2"]


async def test_an_owner_after_a_release_that_noted_nothing_begins_to(stand: Stand) -> None:
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work()
    await stand.pipe.ask("HDEL", stand.keys.head(0), "given", "marks", "gone")
    await forget(stand.pipe, stand.keys, 3)
    stand.replay = stand.another()
    async with stand.replay.turn(()):
        pass
    assert ((await stand.given())[3], stand.stats.replayed) == ("2gab", 0)


async def test_a_batch_that_is_not_acknowledged_yet_counts_as_given(stand: Stand) -> None:
    """Between the end of its handling and its acknowledgement a partition may begin a generation."""
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work(settle=False)
    await forget(stand.pipe, stand.keys, 3)
    await stand.generations.look(stand.pipe)
    async with stand.replay.turn(()):
        pass
    assert await stand.inbox(user) == ["e1"]


async def test_a_generation_that_begins_meanwhile_is_met_with_a_refusal(stand: Stand) -> None:
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work()
    await forget(stand.pipe, stand.keys, 3)
    await stand.send({"id": "e2", "to": {"users": [user]}})
    assert await stand.work() == [Unavailable("STALE")], "before what was lost, nothing new is given"
    assert await stand.inbox(user) == []
    assert await stand.work() == [Done()]
    assert await stand.inbox(user) == ["e1", "e2"]


async def test_a_replay_goes_on_where_it_broke_off(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 2)
    pipe, keys = stand.pipe, stand.keys
    user, once = person(keys, 3), []
    await stand.send(*({"id": f"e{n}", "to": {"users": [user]}} for n in range(6)))
    await stand.work()
    await forget(pipe, keys, 3)
    await stand.generations.look(pipe)
    publish = stand.publisher.publish

    async def failing(currents: Any, *more: Any) -> Any:
        once.append([current.event.id for current in currents])
        return [Unavailable("away")] * len(currents) if len(once) == 2 else await publish(currents, *more)

    monkeypatch.setattr(stand.publisher, "publish", failing)
    with pytest.raises(BusDown):
        async with stand.replay.turn(()):
            pass
    async with stand.replay.turn(()):
        pass
    assert once == [["e0", "e1"], ["e2", "e3"], ["e2", "e3"], ["e4", "e5"]]
    assert await stand.inbox(user) == [f"e{n}" for n in range(6)]


async def test_what_forgot_together_needs_nothing(stand: Stand) -> None:
    """On a single server everything ends at one moment: who remembers that it was given, still has it."""
    user = person(stand.keys, 3)
    await stand.send({"id": "e1", "to": {"users": [user]}})
    await stand.work()
    await stand.generations(stand.pipe.asks, Server("b"), ALL_SLOTS)
    await stand.send({"id": "e2", "to": {"users": [user]}})
    await stand.work()
    assert (await stand.inbox(user), stand.stats.replayed) == (["e1", "e2"], 0)
    assert all(name.startswith("2g") for name in await stand.given())


async def test_an_owner_whose_lease_is_over_claims_nothing(stand: Stand) -> None:
    await stand.pipe.ask("SET", stand.keys.lease(0), "other 9")
    with pytest.raises(Fenced):
        async with stand.replay.turn(()):
            pass


async def test_a_lease_that_was_lost_in_a_failover_lets_nobody_go_on(stand: Stand) -> None:
    """The server that took over knows neither of the lease nor of its number, and may give that number again."""
    await stand.send({"id": "e1", "to": {"users": [person(stand.keys, 3)]}})
    batch = await stand.queue.take(10)
    await stand.pipe.ask("DEL", stand.keys.lease(0), stand.keys.head(0))
    with pytest.raises(Fenced):
        await stand.queue.settle(batch, [Done()], FANOUT, 0.5)
    other = (await Leases(stand.pipe, stand.keys, "other", 60).hold([0]))[0]
    assert other is not None
    assert other.fence == stand.lease.fence, "the number alone would not tell them apart"
    with pytest.raises(Fenced):
        await stand.queue.settle(batch, [Done()], FANOUT, 0.5)


# A whole worker ------------------------------------------------------------------------------------------------------


async def test_a_worker_gives_again_also_when_nothing_new_comes(
    pipe: Pipe, keys: Keys, redis_server: RedisSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK", 0.02)
    user = person(keys, 3)
    node = Node(pipe, keys)
    await node.listen(f"@{user}")
    async with running_worker(settings_for(redis_server.url, keys)):
        await send(pipe, keys, {"id": "e1", "type": "x", "to": {"users": [user]}, "data": 1}, partition=0)
        await node.entries()
        while not await pipe.ask("HEXISTS", keys.head(0), "acked"):  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)
        await forget(pipe, keys, 3)
        (again,) = await node.entries()
        assert data_of(again["b"]) == 1
        epoch, top, publications = await node.read(f"@{user}", 0)
        assert (top, len(publications)) == (1, 1)
        assert orjson.loads(again["u"]) == [[user, 1, epoch]]
