"""Limits on connections that hold over nodes: on a real Redis, with whole nodes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from bus.keys import Keys
from bus.pipe import Pipe
from gateway.node import Node
from gateway.places import Places, address_digest
from gateway.wire.codes import Disconnect
from tests.conftest import open_pipe
from tests.gateway.stand import Client, running_node, settings_for, token
from tests.gateway.streams import eventually


async def several(stack: AsyncExitStack, url: str, keys: Keys, count: int, **changes: Any) -> list[Node]:
    nodes = [await stack.enter_async_context(running_node(url, keys, **changes)) for _ in range(count)]
    for node in nodes:
        node.service.admission.users.shares.resize(count)
        node.service.admission.addresses.shares.resize(count)
    return nodes


async def come(node: Node, user: str = "alice") -> Client:
    """A connection that is let in, or closed."""
    client = Client(node)
    client.say({"id": 1, "connect": {"token": token(user)}})
    await client.until(lambda c: c.closed or c.got)
    return client


async def test_a_person_has_so_many_on_all_nodes_together(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        nodes = await several(stack, redis_server.url, keys, 2, connections_per_user=8)
        clients = [await come(nodes[number % 2]) for number in range(14)]
        inside = [client for client in clients if client.closed is None]
        assert 6 <= len(inside) <= 8
        assert {client.closed for client in clients if client.closed} == {Disconnect.CONNECTION_LIMIT}
        assert (await come(nodes[0], "bob")).closed is None
        for client in inside:
            client.vanish()
        await nodes[0].pipe.ask("PING")
        await nodes[1].pipe.ask("PING")
        assert [(await come(nodes[0])).closed for _ in range(5)] == [None] * 5


async def test_those_who_come_at_once_are_no_more(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        nodes = await several(stack, redis_server.url, keys, 2, connections_per_user=8)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(come(nodes[number % 2])) for number in range(30)]
        inside = sum([(await task).closed is None for task in tasks])
        assert 6 <= inside <= 8


async def test_the_few_of_most_people_cost_redis_nothing(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), running_node(redis_server.url, keys) as node:
        node.service.admission.users.shares.resize(2)
        for user in ("alice", "bob"):
            assert [(await come(node, user)).closed for _ in range(2)] == [None, None]
            assert not await node.pipe.ask("EXISTS", keys.places(user))
        assert (await come(node)).closed is None
        assert await node.pipe.ask("HLEN", keys.places("alice")) == 1


async def test_what_a_dead_node_had_is_free_again_after_a_while(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), open_pipe(redis_server.url) as pipe:
        dead, alive = (Places(pipe, keys.places, name, 4, ttl=0.2) for name in ("dead", "alive"))
        answers: asyncio.Queue[bool | None] = asyncio.Queue()
        for each in (dead, alive):
            each.shares.resize(100)
        dead.ask("alice", lambda: 3, answers.put_nowait)
        alive.ask("alice", lambda: 0, answers.put_nowait)  # in the same moment, for what is borrowed is so not for long
        assert await answers.get()
        assert not await answers.get()
        allowed: bool | None = False
        while not allowed:
            await asyncio.sleep(0.05)
            alive.ask("alice", lambda: 0, answers.put_nowait)
            allowed = await answers.get()


async def test_what_is_kept_stays_ones_own(redis_server: Any, keys: Keys) -> None:
    """A node that stands still for longer than it has something has it no more, and this one may be made to: then it
    is tried with more time."""
    async with asyncio.timeout(90), open_pipe(redis_server.url) as pipe:
        for user, ttl in (("alice", 0.3), ("bob", 1.5), ("carol", 6.0)):
            if await stays(pipe, keys, user, ttl):
                return
    raise AssertionError("another got what was kept")


async def stays(pipe: Pipe, keys: Keys, user: str, ttl: float) -> bool:
    """Whether a node that keeps a place has it twice as long as one that does not."""
    keeps, other = (Places(pipe, keys.places, name, 4, ttl=ttl) for name in ("keeps", "other"))
    answers: asyncio.Queue[bool | None] = asyncio.Queue()
    other.shares.resize(100)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(keeps.run(lambda: 100, lambda: ((user, 4),)))
        await asyncio.sleep(0)
        keeps.ask(user, lambda: 3, answers.put_nowait)
        assert await answers.get()
        allowed: list[bool | None] = []
        for _ in range(4):
            await asyncio.sleep(ttl / 2)
            other.ask(user, lambda: 0, answers.put_nowait)
            allowed.append(await answers.get())
        running.cancel()
    return not any(allowed)


async def test_a_place_that_nobody_took_after_all_goes_back(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), open_pipe(redis_server.url) as pipe, asyncio.TaskGroup() as group:
        node, other = (Places(pipe, keys.places, name, 4, ttl=0.3) for name in ("node", "other"))
        for each in (node, other):
            each.shares.resize(100)
        answers: asyncio.Queue[bool | None] = asyncio.Queue()
        node.ask("alice", lambda: 3, answers.put_nowait)  # and whoever asked goes before the answer
        assert await answers.get()
        assert not node.allows("10.0.0.1", 0)  # who was told to come again, and never does
        running = group.create_task(node.run(lambda: 100, lambda: ()))
        await eventually(lambda: not tuple(node.shares.borrowed()))
        other.ask("alice", lambda: 3, answers.put_nowait)
        assert await answers.get()
        running.cancel()


async def test_an_address_has_so_many_and_stands_nowhere(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        nodes = await several(stack, redis_server.url, keys, 2, connections_per_address=8)
        held: list[Client] = []
        for _ in range(20):
            for node in nodes:
                if node.service.admit("test"):
                    held.append(Client(node))
                await node.pipe.ask("PING")
        assert 6 <= len(held) <= 8
        found = [key async for some in nodes[0].pipe.scan(keys.pattern("places", "*"), 100) for key in some]
        assert found
        assert not any(b"test" in key.removeprefix(keys.prefix.encode()) for key in found)
        for client in held:
            client.vanish()
        await nodes[0].pipe.ask("PING")
        assert nodes[0].service.admit("test")


async def test_who_had_all_places_alone_borrows_them_when_another_comes(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), AsyncExitStack() as stack:
        first, second = await several(stack, redis_server.url, keys, 2, connections_per_user=8)
        first.service.admission.users.shares.resize(1)
        assert [(await come(first)).closed for _ in range(7)] == [None] * 7
        assert not await first.pipe.ask("EXISTS", keys.places("alice"))
        first.service.admission.users.resize(2, first.service.admission.people)
        await first.pipe.ask("PING")
        assert [(await come(second)).closed for _ in range(3)] == [None, None, Disconnect.CONNECTION_LIMIT]


def test_the_hash_of_an_address_is_the_same_on_all_nodes_and_another_elsewhere(keys: Keys) -> None:
    one, other = settings_for("redis://x", keys), settings_for("redis://x", keys, token_secret="o" * 40)
    assert address_digest(one)("10.0.0.1") == address_digest(one)("10.0.0.1")
    assert address_digest(one)("10.0.0.1") != address_digest(other)("10.0.0.1")
