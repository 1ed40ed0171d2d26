"""Receipts from the pong to Redis: of what this session was given and answered for, and of nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bus.clock import SystemClock
from bus.keys import Keys, inbox_of
from bus.ranges import Ranges, parse
from gateway import receipts, watch
from gateway.effects import Claims
from gateway.hub import Hub
from gateway.node import Node
from gateway.receipts import Receipt, Receipts
from gateway.stats import Stats
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import open_pipe
from tests.gateway.stand import Client, Producer, running_node
from tests.servers import RedisSite

PONG: dict[str, Any] = {}


def pings(client: Client) -> int:
    return client.got.count({})


async def noted(node: Node, user: str, field: str) -> bytes | None:
    """What the person's meta has once all receipts so far are noted."""
    node.service.receipts.send()
    found = await node.pipe.ask("HGET", node.keys.meta(inbox_of(user)), field)
    return found if found is None else bytes(found)


async def acked(node: Node, user: str) -> Ranges:
    return parse(await noted(node, user, "acked"))


async def told(node: Node, client: Client, user: str, count: int = 1, producer: Producer | None = None) -> None:
    """Notify, and wait until it is on the client's wire."""
    producer = producer or Producer(node.pipe, node.keys, kept=100)
    before = len(client.publications)
    for number in range(count):
        await producer.notify(user, number)
    await client.until(lambda c: len(c.publications) >= before + count)


async def test_a_pong_is_the_receipt_for_what_was_before_its_ping(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice")
        assert pings(alice) == 1
        assert await noted(node, "alice", "written") == b"1"
        assert await acked(node, "alice") == ()
        alice.say(PONG)
        assert await acked(node, "alice") == ((1, 1),)
        assert node.stats.receipts == 1
        assert alice.closed is None
        alice.say(PONG)
        assert alice.closed is Disconnect.BAD_REQUEST


async def test_without_a_pong_there_is_no_receipt_however_much_is_written(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice", 3)
        assert pings(alice) == 1
        assert await noted(node, "alice", "written") == b"3"
        assert await acked(node, "alice") == ()
        alice.say(PONG)
        assert pings(alice) == 2
        first = await acked(node, "alice")
        assert first[0][0] == 1
        alice.say(PONG)
        assert await acked(node, "alice") == ((1, 3),)


async def test_a_pong_for_a_log_that_was_made_anew_says_nothing_of_the_new_one(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer, inbox = Producer(node.pipe, keys, kept=100), inbox_of("alice")
        old, new = Client(node), Client(node)
        await old.connect("alice")
        await told(node, old, "alice", 2, producer)
        await noted(node, "alice", "written")
        await node.pipe.ask("DEL", keys.meta(inbox), keys.log(inbox))
        assert node.service.hub.disband(inbox) == ((old,), True)  # and there are others to be told first
        await new.connect("alice")
        await told(node, new, "alice", 2, producer)
        old.say(PONG)
        assert await acked(node, "alice") == ()
        new.say(PONG)
        assert await acked(node, "alice") == ((1, 1),)


async def test_a_fresh_device_acknowledges_nothing_old_and_one_that_recovers_what_it_missed(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=100)
        old = Client(node)
        cursor = (await old.connect("alice"))["connect"]["subs"]["inbox"]
        old.vanish()
        for number in range(4):
            await producer.notify("alice", number)
        fresh = Client(node)
        await fresh.connect("alice")
        assert pings(fresh) == 0
        await told(node, fresh, "alice", producer=producer)
        fresh.say(PONG)
        assert await acked(node, "alice") == ((5, 5),)

        again = Client(node)
        recover = {"inbox": {"recover": True, "epoch": cursor["epoch"], "offset": 2}}
        await again.connect("alice", subs=recover)
        assert pings(again) == 1
        again.say(PONG)
        assert await acked(node, "alice") == ((3, 5),)
        assert await noted(node, "alice", "written") == b"5"


async def test_a_plain_event_stream_is_written_and_acknowledges_nothing(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        stream = Client(node, Wire.EVENTS)
        node.service.open_events(stream, Claims("alice", 4e9), (), {})
        await stream.until(lambda c: c.landed)
        await Producer(node.pipe, keys).notify("alice", 1)
        await stream.until(lambda c: c.offered)
        assert await noted(node, "alice", "written") == b"1"
        assert await acked(node, "alice") == ()
        node.service.watch.tick(0.0, 0.0)
        assert stream.closed is None


async def test_a_topic_gives_no_receipts(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await alice.ask({"id": 2, "subscribe": {"channel": "room:a"}})
        await Producer(node.pipe, keys).publish("room:a", 1)
        await alice.until(lambda c: c.publications)
        assert pings(alice) == 0
        assert node.service.hub.written == {}


async def test_a_ping_that_nobody_answers_ends_the_connection_in_its_time(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys, ping_interval=1.0, pong_timeout=0.3) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice")
        ticks = 0
        while alice.closed is None:
            node.service.watch.tick(0.0, 0.0)
            ticks += 1
        assert alice.closed is Disconnect.NO_PONG
        assert 50 < ticks <= 131
        assert pings(alice) == 1
        assert await acked(node, "alice") == ()


async def test_a_pong_of_an_emulated_client_comes_over_another_node(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as one, running_node(redis_server.url, keys) as two:
        alice = Client(one)
        await alice.connect("alice")
        await told(one, alice, "alice")
        done: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()
        two.service.emulate(alice.session.secret, one.id, b"{}", done.set_result)
        assert await done
        async with asyncio.timeout(30):
            while await acked(one, "alice") != ((1, 1),):
                pass


# On their way ----------------------------------------------------------------------------------------------------


@pytest.mark.one_server
async def test_they_go_by_themselves_and_many_people_in_one_call(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), running_node(url, keys) as node:
        users = [f"u{n}" for n in range(300) if keys.partition(f"@u{n}") == 3][:20]
        clients = [Client(node) for _ in users]
        for client, user in zip(clients, users, strict=True):
            await client.connect(user)
        for client, user in zip(clients, users, strict=True):
            await told(node, client, user)
        node.service.receipts.send()
        await node.pipe.ask("PING")
        proxy.chunks.clear()
        for client in clients:
            client.say(PONG)
        async with asyncio.timeout(30):
            while node.stats.receipts < len(users):
                await node.pipe.ask("PING")
        assert b"".join(proxy.chunks).count(b"EVALSHA") == 1


@pytest.mark.one_server
async def test_while_redis_is_away_they_are_kept_and_said_again(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "AGAIN", 0.01)
    async with holding_proxy(redis_server.port) as (proxy, url), running_node(url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice", 2)
        proxy.cut()
        while node.pipe.up:  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0)
        alice.say(PONG)
        node.service.receipts.send()
        alice.say(PONG)
        node.service.receipts.send()
        async with asyncio.timeout(30):
            await node.pipe.wait_up(30)
            while node.stats.receipts < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert await acked(node, "alice") == ((1, 2),)
        assert node.stats.bus_failures >= 1


async def test_so_many_are_kept_and_no_more(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "MAX_WAITING", 3)
    async with open_pipe(redis_server.url) as pipe:
        hub, stats = Hub(), Stats()
        many = Receipts(pipe, keys, hub, asyncio.get_running_loop(), stats)
        hub.written = {f"@u{n}": ("e", ((1, 1),)) for n in range(5)}
        many.send()
        assert stats.receipts_dropped == 2
        async with asyncio.timeout(30):
            while stats.receipts_refused < 3:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)
        await pipe.ask("PING")
        assert stats.receipts_refused == 3  # nobody of that name has an inbox


async def test_a_log_made_anew_refuses_the_receipts_of_the_old_one(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice")
        node.service.receipts.send()
        await node.pipe.ask("HSET", keys.meta("@alice"), "epoch", "another")
        alice.say(PONG)
        assert await acked(node, "alice") == ()
        assert node.stats.receipts_refused == 1


def test_receipts_of_one_epoch_are_added_and_those_of_an_older_one_forgotten() -> None:
    one = Receipt("e", ((1, 2),), ((1, 1),))
    assert one.plus(Receipt("e", ((3, 3),), ((2, 2),))) == Receipt("e", ((1, 3),), ((1, 2),))
    assert one.plus(Receipt("f", ((1, 1),))) == Receipt("f", ((1, 1),))


def test_calls_are_of_about_the_same_length() -> None:
    one, long = Receipt("e", ((1, 1),)), Receipt("e", ((1, 150),), ((1, 2), (5, 104)))
    parts = list(receipts._parts([(f"u{n}", one) for n in range(120)]))
    assert [len(part) for part in parts] == [50, 50, 20]
    cut = [part for call in receipts._parts([("a", one), ("b", long), ("c", one)]) for part in call]
    assert [user for user, _ in cut] == ["a", "b", "b", "b", "b", "c"]
    whole = cut[1][1]
    for _, piece in cut[2:5]:
        assert piece.size <= receipts.OFFSETS
        whole = whole.plus(piece)
    assert whole == long


# Last seen -------------------------------------------------------------------------------------------------------


async def test_who_goes_was_last_seen_now(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        alice, phone = Client(node), Client(node)
        await alice.connect("alice")
        await phone.connect("alice")
        before = SystemClock().wall() * 1000
        alice.vanish()
        assert await noted(node, "alice", "last_seen") is None
        phone.vanish()
        seen = await noted(node, "alice", "last_seen")
        assert seen is not None
        assert before - 1 <= int(seen) <= SystemClock().wall() * 1000 + 1


async def test_a_drained_node_leaves_everybody_seen_just_now(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        clients = [Client(node) for _ in range(5)]
        for number, client in enumerate(clients):
            await client.connect(f"u{number}")
        before = SystemClock().wall() * 1000
        async with asyncio.timeout(30):
            await node.service.drain()
        for number in range(5):
            seen = await noted(node, f"u{number}", "last_seen")
            assert seen is not None
            assert int(seen) >= before - 1
            assert await node.pipe.ask("EXISTS", keys.routes(f"@u{number}")) == 0


async def test_a_drain_waits_for_the_receipt_of_what_was_just_written(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PONG_PATIENCE", 60.0)
    monkeypatch.setattr(watch, "PONG_STEPS", 1_200)
    async with running_node(redis_server.url, keys) as node:
        alice, bob = Client(node), Client(node)
        await alice.connect("alice")
        await bob.connect("bob")
        await told(node, alice, "alice")
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            group.create_task(node.service.drain())
            await bob.until(lambda c: c.closed)
            assert alice.closed is None
            alice.say(PONG)
        assert alice.closed is Disconnect.SHUTDOWN
        assert await acked(node, "alice") == ((1, 1),)


async def test_a_drain_waits_for_nobody_for_long(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "PONG_PATIENCE", 0.05)
    async with running_node(redis_server.url, keys) as node:
        alice = Client(node)
        await alice.connect("alice")
        await told(node, alice, "alice")
        async with asyncio.timeout(30):
            await node.service.drain()
        assert alice.closed is Disconnect.SHUTDOWN
