"""Many who come back to one topic at once: each gets all it missed, and Redis is read a few times for all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from bus.keys import Keys
from gateway import reads
from gateway.node import Node
from tests.gateway.stand import Client, Producer, running_node
from tests.gateway.streams import eventually

TOPIC = "news:flash"


def count_reads(node: Node) -> Counter[str]:
    """How often each script is run on the node's pipe from now on."""
    run: Counter[str] = Counter()
    post = node.pipe.post_script

    def counted(name: str, *rest: Any) -> None:
        run[name] += 1
        post(name, *rest)

    node.pipe.post_script = counted  # type: ignore[method-assign, assignment]
    return run


async def crowd(node: Node, count: int) -> list[Client]:
    clients = [Client(node) for _ in range(count)]
    for number, client in enumerate(clients):
        await client.connect(f"u{number % 50}")
    return clients


def come_back(client: Client, epoch: str, offset: int) -> None:
    client.say({"id": 2, "subscribe": {"channel": TOPIC, "recover": True, "epoch": epoch, "offset": offset}})


async def answer(client: Client) -> Any:
    return (await client.until(lambda c: next((r for r in c.got if r.get("id") == 2), None)))["subscribe"]


async def test_a_thousand_with_different_positions_read_redis_a_few_times(
    redis_server: Any, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "KEPT", 60.0)  # that they come within a moment is for the test to see to
    async with asyncio.timeout(120), running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=200)
        places = [await producer.append(TOPIC, number) for number in range(100)]
        epoch = places[0][1]
        clients = await crowd(node, 1_000)
        run = count_reads(node)
        for number, client in enumerate(clients):
            come_back(client, epoch, number % 100)
            if number % 50 == 0:
                await asyncio.sleep(0)
        for number, client in enumerate(clients):
            got = await answer(client)
            assert got["recovered"]
            assert [p["offset"] for p in got.get("publications", ())] == list(range(number % 100 + 1, 101))
        assert run["join"] <= 10


async def test_what_is_published_while_it_is_kept_comes_to_everyone_once(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(120), running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=200)
        epoch = (await producer.append(TOPIC, 0))[1]
        clients = await crowd(node, 60)
        for number, client in enumerate(clients):
            come_back(client, epoch, number % 2)
            if number % 3 == 0:
                await producer.publish(TOPIC, number)
        await producer.publish(TOPIC, "last")
        top = 1 + 20 + 1
        for number, client in enumerate(clients):
            got = await answer(client)
            assert got["recovered"]

            def seen(c: Client, got: Any = got) -> list[int]:
                return [p["offset"] for p in got.get("publications", ())] + [offset for _, offset, _ in c.publications]

            await client.until(lambda c, seen=seen: seen(c)[-1:] == [top])
            assert seen(client) == list(range(number % 2 + 1, top + 1))


async def test_who_missed_too_much_holds_nobody_else_up_and_is_told(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(120), running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=1_000)
        epoch = (await producer.append(TOPIC, 0))[1]
        for number in range(1, 400):
            await producer.append(TOPIC, number)
        clients = await crowd(node, 20)
        for number, client in enumerate(clients):
            come_back(client, epoch, 5 if number % 2 else 390)
        answers = [await answer(client) for client in clients]
        assert [got.get("recovered", False) for got in answers] == [number % 2 == 0 for number in range(20)]


async def test_nothing_is_kept_for_long(redis_server: Any, keys: Keys) -> None:
    async with asyncio.timeout(90), running_node(redis_server.url, keys) as node:
        producer = Producer(node.pipe, keys, kept=20)
        epoch = (await producer.append(TOPIC, 0))[1]
        clients = await crowd(node, 5)
        for client in clients:
            come_back(client, epoch, 0)
        for client in clients:
            await answer(client)
            client.vanish()
        await eventually(lambda: TOPIC not in node.service.hub.topics)
        assert not await node.pipe.ask("EXISTS", keys.routes(TOPIC))
