"""A node whose Redis came back as another server, with all that was written or without the newest of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bus.cursor import Cursor
from bus.errors import Refused
from bus.generation import Generations
from bus.keys import Keys, inbox_of
from bus.pipe import ALL_SLOTS, Server
from bus.pipe.routing import slot_of
from gateway.effects import Claims
from gateway.node import Node
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire
from tests.gateway.stand import Client, Producer, running_node
from tests.servers import RedisSite

ALICE = inbox_of("alice")


@dataclass
class Scene:
    """A node, and a Redis that may forget."""

    node: Node
    keys: Keys
    generations: Generations
    producer: Producer
    servers: int = 0
    _kept: dict[str, Any] = field(default_factory=dict)

    async def arrive(self, slots: Container[int] = ALL_SLOTS) -> None:
        """The node's connection is to another server than before, which has these slots."""
        self.servers += 1
        await self.generations(self.node.pipe.asks, Server(f"server {self.servers}"), slots)

    def slots(self, topic: str) -> Container[int]:
        """Those of its partition alone, so that connections stay, which end with their inbox."""
        return (slot_of(self.keys.log(topic).encode()),)

    async def replicate(self, *topics: str) -> None:
        """A replica has these as they are now."""
        for key in [key for topic in topics for key in (self.keys.log(topic), self.keys.meta(topic))]:
            self._kept[key] = await self.node.pipe.ask("DUMP", key)

    async def fail_over(self, slots: Container[int] = ALL_SLOTS) -> None:
        """The replica takes over."""
        for key, dump in self._kept.items():
            await self.node.pipe.ask("RESTORE", key, 0, dump, "REPLACE")
        await self.arrive(slots)

    def look(self) -> None:
        """What the node's clock does at once after a change."""
        self.node.service.watch.tick(0.0, 0.0)

    async def looked(self, *topics: str) -> None:
        """Look, and wait until all that was asked of the servers of these topics is answered."""
        self.look()
        for topic in topics:
            await self.node.pipe.ask("EXISTS", self.keys.log(topic))


@asynccontextmanager
async def scene(server: RedisSite, keys: Keys) -> AsyncIterator[Scene]:
    async with running_node(server.url, keys) as node:
        generations = Generations(keys)
        generations.watch(node.service.joins.check_soon)
        found = Scene(node, keys, generations, Producer(node.pipe, keys, kept=100))
        await found.arrive()
        yield found


async def subscribed(client: Client, number: int, topic: str, place: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer to a subscribe, which recovers from a place where one is given."""
    fields = {} if place is None else {"recover": True, "epoch": place["epoch"], "offset": place["offset"]}
    return dict((await client.ask({"id": number, "subscribe": {"channel": topic, **fields}}))["subscribe"])


async def told_to_recover(client: Client) -> int:
    """The code with which a subscription was ended."""
    push = await client.until(lambda c: next((m["push"] for m in c.got if "unsubscribe" in m.get("push", {})), None))
    return int(push["unsubscribe"]["code"])


async def test_listeners_recover_without_a_gap_when_nothing_was_lost(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        alice = Client(it.node)
        await alice.connect("alice")
        first = await subscribed(alice, 2, "room:a")
        await it.producer.publish("room:a", 1)
        await alice.until(lambda c: c.publications)
        await it.arrive(it.slots("room:a"))
        it.look()
        assert await told_to_recover(alice) == 2500
        await it.producer.publish("room:a", 2)
        back = await subscribed(alice, 3, "room:a", {"epoch": first["epoch"], "offset": 1})
        assert back["recovered"] is True
        assert back["epoch"].startswith(first["epoch"] + "-2g")
        await alice.until(lambda c: c.publications[1:] or back["publications"])
        shown = [*(p["data"] for p in back["publications"]), *(data for _, _, data in alice.publications[1:])]
        assert shown == [2]
        # And from there on it is an epoch like any other.
        await it.producer.publish("room:a", 3)
        await alice.until(lambda c: c.publications[-1][1:] == (3, 3))
        alice.vanish()


async def test_a_publication_of_the_new_generation_is_noticed_at_once(redis_server: RedisSite, keys: Keys) -> None:
    """Whoever publishes may have found out earlier than this node."""
    async with scene(redis_server, keys) as it:
        alice = Client(it.node)
        await alice.connect("alice")
        first = await subscribed(alice, 2, "room:a")
        await Generations(keys)(it.node.pipe.asks, Server("another"), it.slots("room:a"))
        await it.producer.publish("room:a", 1)
        assert await told_to_recover(alice) == 2500
        assert alice.publications == []
        back = await subscribed(alice, 3, "room:a", {"epoch": first["epoch"], "offset": 0})
        assert (back["recovered"], [p["data"] for p in back["publications"]]) == (True, [1])


async def test_who_saw_what_was_lost_is_told_that_something_is_missing(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        alice, bob = Client(it.node), Client(it.node)
        await alice.connect("alice")
        await bob.connect("bob")
        first = await subscribed(alice, 2, "room:a")
        await it.producer.publish("room:a", 1)
        await it.replicate("room:a")
        await it.producer.publish("room:a", "lost")
        await alice.until(lambda c: len(c.publications) == 2)
        await it.fail_over(it.slots("room:a"))
        assert await it.producer.publish("room:a", "in its place") == 2
        it.look()
        assert await told_to_recover(alice) == 2500
        back = await subscribed(alice, 3, "room:a", {"epoch": first["epoch"], "offset": 2})
        assert (back.get("recovered"), back["offset"]) == (None, 2), "offset 2 is another event now"
        other = await subscribed(bob, 2, "room:a", {"epoch": first["epoch"], "offset": 1})
        assert (other["recovered"], [p["data"] for p in other["publications"]]) == (True, ["in its place"])
        # Nor does it help to come back with the old epoch and an offset that was reached in the new one.
        await it.producer.publish("room:a", 3)
        third = Client(it.node)
        await third.connect("carol")
        assert "recovered" not in await subscribed(third, 2, "room:a", {"epoch": first["epoch"], "offset": 3})


async def test_an_inbox_is_recovered_on_a_new_connection(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        alice = Client(it.node)
        inbox = (await alice.connect("alice"))["connect"]["subs"]["inbox"]
        await it.producer.notify("alice", 1)
        await alice.until(lambda c: c.publications)
        await it.arrive()
        it.look()
        await alice.until(lambda c: c.closed)
        assert alice.closed is Disconnect.INSUFFICIENT_STATE
        await it.producer.notify("alice", 2)
        again = Client(it.node)
        place = {"recover": True, "epoch": inbox["epoch"], "offset": 1}
        found = (await again.connect("alice", subs={"inbox": place}))["connect"]["subs"]["inbox"]
        assert (found["recovered"], [p["data"] for p in found["publications"]]) == (True, [2])


async def test_a_crowd_recovers_without_asking_redis_for_each(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene(redis_server, keys) as it:
        clients = [Client(it.node) for _ in range(20)]
        for client in clients:
            await client.connect("alice")
            first = await subscribed(client, 2, "room:a")
        await it.arrive(it.slots("room:a"))
        it.look()
        for client in clients:
            await told_to_recover(client)
        asked: list[str] = []
        post_script = it.node.pipe.post_script

        def counted(name: str, *more: Any) -> None:
            asked.append(name)
            post_script(name, *more)

        monkeypatch.setattr(it.node.pipe, "post_script", counted)
        for client in clients:
            assert (await subscribed(client, 3, "room:a", first))["recovered"] is True
        assert asked.count("join") == 1, "the first asks anew; all others are where it is"


async def test_only_topics_of_changed_partitions_are_looked_at(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        alice = Client(it.node)
        await alice.connect("alice")
        here = next(f"room:{n}" for n in range(100) if keys.partition(f"room:{n}") == 3)
        there = next(f"room:{n}" for n in range(100) if keys.partition(f"room:{n}") == 5)
        await subscribed(alice, 2, here)
        await subscribed(alice, 3, there)
        await it.looked(here, there, ALICE)  # for a node looks at everything when it has come up
        it.node.stats.position_checks = 0
        it.node.service.joins.check_soon(frozenset((3,)))
        await it.looked(here, there, ALICE)
        assert it.node.stats.position_checks == 1
        # Two at once: neither keeps the other from being looked at.
        it.node.service.joins.check_soon(frozenset((3,)))
        it.node.service.joins.check_soon(frozenset((5,)))
        await it.looked(here, there, ALICE)
        assert it.node.stats.position_checks == 4


async def test_history_goes_on_from_a_place_that_survived(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        alice = Client(it.node)
        await alice.connect("alice")
        for number in range(3):
            await it.producer.publish("room:a", number)
        await it.replicate("room:a")
        await it.producer.publish("room:a", "lost")
        whole = (await alice.ask({"id": 2, "history": {"channel": "room:a", "limit": 10}}))["history"]
        await it.fail_over()
        await it.producer.publish("room:a", 3)

        async def page(number: int, offset: int) -> Any:
            since = {"epoch": whole["epoch"], "offset": offset}
            return await alice.ask({"id": number, "history": {"channel": "room:a", "limit": 10, "since": since}})

        found = (await page(3, 3))["history"]
        assert ([p["data"] for p in found["publications"]], found["epoch"] == whole["epoch"]) == ([3], False)
        assert (await page(4, 4))["error"]["code"] == 112


async def test_a_plain_stream_is_ended_and_goes_on_from_its_cursor(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        first = Client(it.node, Wire.EVENTS)
        it.node.service.open_events(first, Claims("alice", 4e9), ("room:a",), {})
        await first.until(lambda c: len(c.landed) == 2)
        await it.producer.publish("room:a", 1)
        await first.until(lambda c: c.offered)
        await it.arrive()
        it.look()
        await first.until(lambda c: c.closed)
        await it.producer.publish("room:a", 2)
        again = Client(it.node, Wire.EVENTS)
        cursors = {"room:a": Cursor(first.landed["room:a"].epoch, 1), ALICE: Cursor(first.landed[ALICE].epoch, 0)}
        it.node.service.open_events(again, Claims("alice", 4e9), ("room:a",), cursors)
        await again.until(lambda c: len(c.landed) == 2)
        assert [landed.recovered for landed in again.landed.values()] == [True, True]
        assert [offset for _, offset, _ in again.offered] == [2]


async def test_receipts_of_the_lost_cancel_nothing(redis_server: RedisSite, keys: Keys) -> None:
    """An acknowledgement of what was lost must not be one of what took its place."""
    async with scene(redis_server, keys) as it:
        await it.producer.notify("alice", 1)
        await it.replicate(ALICE)
        epoch = (await it.node.pipe.ask("HGET", keys.meta(ALICE), "epoch")).decode()
        await it.producer.notify("alice", "lost")
        await it.fail_over()
        assert await it.producer.notify("alice", "in its place") == 2
        receipts = it.node.service.receipts
        assert await receipts.now("alice", epoch, ((2, 2),)) == "epoch"
        assert await receipts.now("alice", epoch, ((1, 2),)) == 1
        assert await it.node.pipe.ask("HGET", keys.meta(ALICE), "acked") == b"1-1"


# The node's own stream -----------------------------------------------------------------------------------------------


async def test_what_took_the_place_of_lost_entries_of_the_nodes_stream_is_read(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with scene(redis_server, keys) as it:
        node, alice = it.node, Client(it.node)
        await alice.connect("alice")
        stream, sequence = keys.node_deliveries(node.id), keys.node_sequence(node.id)
        for number in range(3):
            await it.producer.notify("alice", number)
        await alice.until(lambda c: len(c.publications) == 3)
        feed, asks = node.feed, node.pipe.asks
        await feed.arrived(asks, Server("a"), ALL_SLOTS)
        await feed.arrived(asks, Server("a"), ALL_SLOTS)
        await feed.arrived(asks, Server("b"), range(0))
        await feed.arrived(asks, Server("b"), ALL_SLOTS)
        assert feed.read_to == 3, "nothing is missing there"
        # The newest entry is lost, and so is its number: the next one gets it.
        await node.pipe.asks([("DEL", stream), ("SET", sequence, 2)])
        await it.producer.notify("alice", 3)
        await feed.arrived(asks, Server("c"), ALL_SLOTS)
        assert feed.read_to == 0


async def test_what_is_still_there_is_not_read_again(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be an order to disconnect somebody who has come back since."""
    monkeypatch.setattr("gateway.feed.PAGE", 2)
    monkeypatch.setattr("gateway.feed.BLOCK", 0.05)  # a read that waits on a connection that is not really lost
    async with scene(redis_server, keys) as it:
        node, alice = it.node, Client(it.node)
        await alice.connect("alice")
        stream, sequence = keys.node_deliveries(node.id), keys.node_sequence(node.id)
        feed, asks = node.feed, node.pipe.asks
        await feed.arrived(asks, Server("a"), ALL_SLOTS)
        for number in range(3):
            await it.producer.notify("alice", number)
        await alice.until(lambda c: len(c.publications) == 3)
        replica = await node.pipe.ask("DUMP", stream)
        for number in range(5):
            await it.producer.notify("alice", number)
        await alice.until(lambda c: len(c.publications) == 8)
        await node.pipe.asks([("RESTORE", stream, 0, replica, "REPLACE"), ("SET", sequence, 3)])
        await it.producer.notify("alice", "in the place of the first that was lost")
        await feed.arrived(asks, Server("b"), ALL_SLOTS)
        assert feed.read_to == 3
        await it.producer.notify("alice", "the next")
        await alice.until(lambda c: len(c.publications) == 10)
        # The heartbeat may notice it before the feed's own connection does.
        await feed.arrived(asks, Server("b"), ALL_SLOTS)
        assert feed.read_to == 5
        await node.pipe.asks([("RESTORE", stream, 0, replica, "REPLACE"), ("SET", sequence, 3)])
        await node.heartbeat.beat()
        gaps = node.stats.stream_gaps
        await it.producer.notify("alice", "in another's place")
        await it.producer.notify("alice", "in another's place again")
        await alice.until(lambda c: len(c.publications) == 12)
        assert feed.read_to == 5
        assert node.stats.stream_gaps == gaps


async def test_a_feed_that_cannot_ask_does_not_begin(redis_server: RedisSite, keys: Keys) -> None:
    async with scene(redis_server, keys) as it:
        feed = it.node.feed
        feed.read_to = 1
        await feed.arrived(it.node.pipe.asks, Server("a"), ALL_SLOTS)
        await it.node.pipe.ask("DEL", keys.node_deliveries(it.node.id))
        await it.node.pipe.ask("SET", keys.node_deliveries(it.node.id), "of another type")
        with pytest.raises(Refused):
            await feed.arrived(it.node.pipe.asks, Server("b"), ALL_SLOTS)
