"""A gateway that is killed costs nobody an event: clients come back elsewhere and go on where they were."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random

import pytest

from bus.keys import Keys
from tests.faults.crowd import Person, eventually, gathered
from tests.faults.producers import Adder, Poster, Producer, Send, behind, complaints, posting
from tests.redis_clients import aclient
from tests.system import Gateway, System, system

USERS = [f"user{n}" for n in range(80)]
TOPICS = [f"room:{n}" for n in range(4)]
PEOPLE = 240
KILLS = 4
SEED = 20_261


def population(made: System, chance: Random) -> list[Person]:
    """Three devices for each user, each with one topic."""
    ports = [gateway.port for gateway in made.gateways]
    return [
        Person(USERS[n % len(USERS)], [TOPICS[n % len(TOPICS)]], ports, Random(chance.random())) for n in range(PEOPLE)
    ]


def factory(sends: list[Send], chance: Random) -> list[Producer]:
    """A producer for each way of sending, each with users and a topic of its own."""
    each = len(USERS) // len(sends)
    return [
        Producer(f"p{n}", USERS[n * each : (n + 1) * each], [TOPICS[n]], send, Random(chance.random()), persistent=True)
        for n, send in enumerate(sends)
    ]


def fullest(made: System, people: Sequence[Person]) -> Gateway:
    """The gateway with the most connections: the others' people were driven to it by the last kill."""
    return max(made.gateways, key=lambda gateway: sum(person.port == gateway.port for person in people))


async def kill_and_restart(gateway: Gateway, chance: Random) -> None:
    """At any moment of its work; then it stays away for a while."""
    await asyncio.sleep(chance.uniform(0.3, 1.5))
    await asyncio.to_thread(gateway.kill)
    await asyncio.sleep(chance.uniform(0.0, 0.5))
    gateway.start()
    await asyncio.to_thread(gateway.until_ready)


@pytest.mark.slow
async def test_every_event_arrives_once_and_in_order_however_often_a_gateway_is_killed(tmp_path: Path) -> None:
    chance = Random(SEED)
    with system(tmp_path, gateways=2) as made:
        people = population(made, chance)
        origins = [gateway.origin for gateway in made.gateways]
        async with asyncio.timeout(200), posting() as http, aclient(made.redis.url) as redis:
            posters = [Poster(http, origins), Poster(http, origins[::-1]), Poster(http, origins, keyed=True)]
            producers = factory([*posters, Adder(redis, Keys("tocsin", 64))], chance)
            async with gathered(people):
                stop = asyncio.Event()
                async with asyncio.TaskGroup() as group:
                    for producer in producers:
                        group.create_task(producer.run(stop))
                    for _ in range(KILLS):
                        await kill_and_restart(fullest(made, people), chance)
                    stop.set()
                await eventually(lambda: not behind(producers, people))
                await asyncio.sleep(0.5)  # for what should not come any more
        assert complaints(producers, people) == []
        assert [fault for person in people for fault in person.faults] == []
        assert [answer for poster in posters for answer in poster.unhelpful] == []
        assert sum(person.recoveries for person in people) > PEOPLE
        assert min(producer.sent for producer in producers) > 20
        assert all(person.refused == 0 for person in people)


@pytest.mark.slow
async def test_a_gateway_that_hangs_until_it_counts_as_dead_catches_up(tmp_path: Path) -> None:
    """Its clients are still connected when it goes on; what came meanwhile was for nobody here."""
    chance = Random(SEED)
    with system(tmp_path, node_ttl=1) as made:
        hanging = made.gateways[0]
        people = [Person(USERS[n], [TOPICS[0]], [hanging.port], Random(n)) for n in range(40)]
        async with asyncio.timeout(120), aclient(made.redis.url) as redis, gathered(people):
            producer = Producer("p", USERS[:40], TOPICS[:1], Adder(redis, Keys("tocsin", 64)), chance)
            for _ in range(5):
                await producer.step()
            os.kill(hanging.pid, signal.SIGSTOP)
            try:
                while await redis.keys("tocsin:{node-*}:alive"):  # noqa: ASYNC110  # Redis forgets it
                    await asyncio.sleep(0.02)
                for _ in range(100):
                    await producer.step()
            finally:
                os.kill(hanging.pid, signal.SIGCONT)
            for _ in range(20):
                await producer.step()
                await asyncio.sleep(0.05)
            await eventually(lambda: not behind([producer], people))
            assert complaints([producer], people) == []
            assert [fault for person in people for fault in person.faults] == []
            assert [person.closes for person in people if person.closes] == []
