"""Forgetting a person: with a gateway, a worker and everything that can name somebody, nothing of them is left."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import orjson

from bus.clock import SystemClock
from bus.keys import Keys, inbox_of
from bus.people.devices import Device, Registration
from bus.people.erase import Eraser
from bus.people.preferences import Preferences
from bus.people.profile import Contacts, Profile, Webhook
from bus.pipe import Pipe
from fanout.settings import FanoutSettings
from gateway.effects import Claims, Joined
from gateway.node import Node
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire
from tests.bus.test_directory import Crash, CrashingPipe
from tests.fanout.stand import running_worker, send
from tests.gateway.everything import everything
from tests.gateway.stand import Client, running_node
from tests.servers import RedisSite

ZOE: Final = 'zoë {q}*: "1"/\\'
"""A name with everything in it that means something in a glob, in JSON or in a key."""
TRACES: Final = ("zo%C3%AB", "zoë", "zo\\u00eb", "q%7D", "{q}*", "quine.example", "4930777777", "zoes-token")
KEY: Final = base64.urlsafe_b64encode(b"k" * 32).decode()
CATEGORIES: Final = {"digested": {"digest": {"push": {"window": 3600}}}}
PUSH: Final = [{"via": "live"}, {"via": "push"}]


@asynccontextmanager
async def system(server: RedisSite, keys: Keys) -> AsyncIterator[Node]:
    given: dict[str, Any] = {"directory_keys": (f"k:{KEY}",), "directory_index_key": KEY, "categories": CATEGORIES}
    worker = FanoutSettings(
        redis_url=server.url,
        prefix=keys.prefix,
        partitions=keys.partitions,
        namespaces={"news": {"subscribe": "user", "history_size": 5}},
        **given,
    )
    async with running_node(server.url, keys, **given) as node, running_worker(worker):
        yield node


async def live_through_everything(node: Node, keys: Keys) -> Client:
    """Zoe's whole story, and a little of Bob's."""
    directory, pipe = node.people.directory, node.pipe
    hook = Webhook("https://hooks.quine.example/", "whsec_" + KEY)
    contacts = Contacts("zoes@quine.example", "+4930777777", hook)
    await directory.put(ZOE, Profile("de", "Europe/Berlin", "Zoë", {"who": "zoë"}, contacts))
    await directory.change_preferences(ZOE, lambda _: Preferences(categories={"off": {"live": False}}))
    device = await directory.register(ZOE, Registration("fcm", "zoes-token-0123456789"))
    assert isinstance(device, Device)
    await node.people.followers.follow("news:sport", [ZOE, "bob"])
    await node.people.followers.follow("news:zoe", [ZOE])

    zoe, bob = Client(node), Client(node)
    await zoe.connect(ZOE)
    await zoe.ask({"id": 2, "subscribe": {"channel": "news:sport"}})
    await bob.connect("bob")
    to_zoe: Any = {"users": [ZOE]}
    both: Any = {"users": [ZOE, "bob"]}
    later = {"at": "2999-01-01T00:00:00Z", "ttl": 60}
    for event in (
        {"id": "alone", "to": to_zoe, "title": "Dear zoë", "ladder": PUSH},
        {"id": "both", "to": both, "title": "Dear all", "ladder": PUSH},
        {"id": "muted", "to": both, "title": "Dear all", "category": "off"},
        {"id": "digested", "to": to_zoe, "title": "Dear zoë", "category": "digested", "ladder": PUSH},
        {"id": "waiting", "to": to_zoe, "title": "Dear zoë", "ladder": [{"via": "email", "after": 3600}]},
        {"id": "later", "to": to_zoe, "title": "Dear zoë", **later},
        {"id": "later-both", "to": both, "title": "Dear all", "key": "elsewhere", **later},
        {"id": "later-topic", "to": to_zoe | {"topics": ["news:art"]}, "title": "Dear all", **later},
        {"id": "topic", "to": {"topics": ["news:sport"]}, "title": "Dear all"},
        {"id": "last", "to": both, "title": "Dear all", "key": "x"},
    ):
        await send(pipe, keys, {"type": "t", **event})
    await zoe.until(lambda c: {"alone", "both", "digested", "waiting", "topic", "last"} <= ids_of(c))
    await bob.until(lambda c: {"both", "muted", "topic", "last"} <= ids_of(c))
    p = keys.partition(ZOE)
    await until_jobs(pipe, keys, p)

    # What only senders, failures and crashes leave behind.
    fields = ["id", "f" * 32, "e", "1.s/x", "u", ZOE, "t", ""]
    pack = "redis.call('ZADD', KEYS[1], 5, cmsgpack.pack(ARGV))"
    for number in range(3):
        await pipe.ask("EVAL", pack, 1, keys.later(p, "email"), *fields, "n", number)
        await pipe.ask("EVAL", pack, 1, keys.later(p, "email"), *fields[:5], "bob", *fields[6:], "n", number)
    letter = ["queue", "x", "entry", "1-0", "reason", "r", "attempts", "1"]
    elsewhere = (p + 1) % keys.partitions
    event = orjson.dumps({"type": "t", "to": both})
    for q in (p, elsewhere):
        await pipe.ask("XADD", keys.dead(q), "*", *letter, "e", event)
        await pipe.ask("XADD", keys.dead(q), "*", *letter, "e", b'{"to":{"users":["bob"]}}')
        await pipe.ask("XADD", keys.dead(q), "*", *letter, *fields)
    await pipe.ask("XADD", keys.dead(p), "*", *letter, "t", f"step\n1.s%2Fx\n{escaped(keys)}\n1")
    await pipe.ask("HSET", keys.bulk_head(p), "walk", "1-0", "last", ZOE)
    await pipe.ask("LPUSH", keys.phone(ZOE), b"Dear zo\xc3\xab")
    await pipe.ask("LPUSH", keys.mailbox, '{"to":"zoes@quine.example"}', '{"to":"bob@b.example"}')
    await pipe.ask("HSET", keys.index("0" * 32), ZOE, "1", "bob", "1")
    await pipe.ask("HSET", keys.seen(p, "1.s/forgotten"), inbox_of(ZOE), "77", "@bob", "5")
    return zoe


def escaped(keys: Keys) -> str:
    return keys.profile(ZOE).split(":")[3]


def ids_of(client: Client) -> set[str]:
    return {notification["id"] for _, _, notification in client.publications}


async def until_jobs(pipe: Pipe, keys: Keys, partition: int) -> None:
    """The worker has taken the steps that are due at once."""
    async with asyncio.timeout(30):
        while await pipe.ask("XLEN", keys.jobs(partition, "push")) < 2 or not await pipe.ask(
            "EXISTS", keys.digests(ZOE)
        ):
            pass


def traces(found: dict[str, bytes]) -> list[str]:
    """Where she is named, or shows through."""
    told = {key: key.encode() + b" " + value for key, value in found.items()}
    return [f"{key}: {text[:200]!r}" for key, text in told.items() if any(t.encode() in text for t in TRACES)]


async def until_nothing_is_left(node: Node, keys: Keys) -> None:
    """At the end each node is told to drop what it has read, and does so as soon as it reads that."""
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while traces(await everything(node.pipe, keys)):  # noqa: ASYNC110  # nothing tells
                await asyncio.sleep(0.01)
    assert traces(await everything(node.pipe, keys)) == []


async def test_nothing_is_left(redis_server: RedisSite, keys: Keys) -> None:
    async with system(redis_server, keys) as node:
        zoe = await live_through_everything(node, keys)
        assert len(traces(await everything(node.pipe, keys))) > 20
        await node.forgetting.forget(ZOE)
        assert zoe.closed is Disconnect.FORCE_NO_RECONNECT
        await bobs_own_is_there(node, keys)
        await until_nothing_is_left(node, keys)
        await node.forgetting.forget(ZOE)
        await until_nothing_is_left(node, keys)


async def bobs_own_is_there(node: Node, keys: Keys) -> None:
    """What is for others too stays for them: live, later and in the lists of what failed."""
    bob = Client(node, Wire.STREAM)
    await bob.connect("bob")
    answer = await bob.ask({"id": 2, "rpc": {"method": "inbox.list", "data": {}}})
    ids = {item["notification"]["id"] for item in answer["rpc"]["data"]["items"]}
    assert {"both", "topic", "last"} <= ids
    later = [await node.pipe.ask("ZRANGE", keys.timers(p), 0, -1) for p in range(keys.partitions)]
    events = [orjson.loads(t.split(b"\n")[-1]) for found in later for t in found if t.startswith(b"event")]
    kept = {e["id"]: e["to"] for e in events}
    assert kept == {"later-both": {"users": ["bob"]}, "later-topic": {"topics": ["news:art"]}}
    assert await node.pipe.ask("LRANGE", keys.mailbox, 0, -1) == [b'{"to":"bob@b.example"}']
    letters = [await node.pipe.ask("XLEN", keys.dead(p)) for p in range(keys.partitions)]
    assert sum(letters) == 2
    assert await node.pipe.ask("ZCARD", keys.later(keys.partition(ZOE), "email")) == 3
    assert await node.people.followers.topics("bob") == ("news:sport",)
    assert await node.people.followers.count("news:sport") == 1
    assert await node.pipe.ask("HEXISTS", keys.meta("news:zoe"), "followed") == 0


async def test_after_a_crash_anywhere_the_rest_is_done_by_a_repeat(redis_server: RedisSite, keys: Keys) -> None:
    async with system(redis_server, keys) as node:
        await live_through_everything(node, keys)
        commands = 0
        while True:
            pipe: Any = CrashingPipe(node.pipe, commands)
            people = type(node.people)(pipe, keys, SystemClock(), node.settings, node.service.namespaces)
            try:
                await Eraser(pipe, keys, people.directory, people.followers).erase(ZOE)
            except Crash:
                commands += 1
                continue
            break
        assert commands > 30  # fewer than at first: what was done before a crash stays done
        await node.forgetting.forget(ZOE)
        await bobs_own_is_there(node, keys)
        await until_nothing_is_left(node, keys)


async def test_somebody_nobody_knows_can_be_forgotten(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        before = await everything(node.pipe, keys)
        await node.forgetting.forget("nobody")
        after = await everything(node.pipe, keys)
        assert before.keys() >= after.keys() - {keys.node_deliveries(node.id), keys.node_sequence(node.id)}


async def test_plain_event_streams_end_too(redis_server: RedisSite, keys: Keys) -> None:
    async with running_node(redis_server.url, keys) as node:
        listener = Client(node, Wire.EVENTS)
        node.service.open_events(listener, Claims("alice", 4e9), (), {})
        await listener.until(lambda c: inbox_of("alice") in c.landed)
        assert isinstance(listener.landed[inbox_of("alice")], Joined)
        await node.forgetting.forget("alice")
        assert listener.closed is Disconnect.FORCE_NO_RECONNECT
