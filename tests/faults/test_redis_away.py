"""Redis hangs, is killed, is full, cannot write: producers are told to come back, and clients only have to wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.faults.crowd import INBOX, Person, coming, eventually, gathered
from tests.faults.producers import Poster, Producer, behind, complaints, posting
from tests.system import Gateway, System, system

USERS = [f"user{n}" for n in range(20)]
TOPICS = ["room:0", "room:1"]
SEED = 20_262
INSUFFICIENT_STATE = 3010
"""Come back, and recover."""


@dataclass
class Scene:
    """People who listen at two gateways, and producers who post each event once."""

    made: System
    people: Sequence[Person]
    producers: Sequence[Producer]
    posters: Sequence[Poster]
    restarted: bool = False
    """Whether Redis was; then inboxes go on in another epoch, on another connection."""

    async def refused(self, since: int) -> None:
        """Until every poster was refused since then."""
        await eventually(lambda: all(poster.statuses[503] > since for poster in self.posters))

    async def accepted(self) -> None:
        """Until every poster is accepted again, and everyone has got all that was owed before."""
        before = [poster.statuses[202] for poster in self.posters]
        pairs = list(zip(self.posters, before, strict=True))
        await eventually(lambda: all(poster.statuses[202] > count + 5 for poster, count in pairs))

    def check(self) -> None:
        """Everyone got everything once and in order, over the connection of the beginning while Redis was the same."""
        assert complaints(self.producers, self.people) == []
        assert [fault for person in self.people for fault in person.faults] == []
        codes = {code for person in self.people for _, code in person.closes}
        assert codes <= ({INSUFFICIENT_STATE} if self.restarted else set())
        assert [answer for poster in self.posters for answer in poster.unhelpful] == []
        assert {status for poster in self.posters for status in poster.statuses} == {202, 503}


@asynccontextmanager
async def scene(made: System) -> AsyncIterator[Scene]:
    """A system at work; at the end everyone must have got what is theirs."""
    chance = Random(SEED)
    ports = [gateway.port for gateway in made.gateways]
    people = [Person(user, TOPICS, ports, Random(chance.random())) for user in USERS * 2]
    async with asyncio.timeout(150), posting() as http, gathered(people):
        posters = [Poster(http, [gateway.origin]) for gateway in made.gateways]
        producers = [
            Producer(f"p{n}", USERS[n::2], TOPICS[n::2], poster, Random(chance.random()))
            for n, poster in enumerate(posters)
        ]
        stop = asyncio.Event()
        playing = Scene(made, people, producers, posters)
        async with asyncio.TaskGroup() as group:
            for producer in producers:
                group.create_task(producer.run(stop))
            await playing.accepted()
            yield playing
            await playing.accepted()
            stop.set()
        await eventually(lambda: not behind(producers, people))
        await asyncio.sleep(0.5)  # for what should not come any more
        playing.check()


async def answers(gateway: Gateway, path: str, wanted: int) -> None:
    """Until it says so: it may answer late, and what it knows of Redis is some seconds old."""
    async with asyncio.timeout(30):
        while await asyncio.to_thread(gateway.status, path) != wanted:  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_a_redis_that_hangs_or_is_killed(tmp_path: Path) -> None:
    with system(tmp_path, gateways=2, redis={"appendfsync": "always"}) as made:
        async with scene(made) as playing:
            made.redis.pause()
            try:
                await playing.refused(since=0)
                await answers(made.gateways[0], "/readyz", 503)
                await answers(made.gateways[0], "/healthz", 200)
            finally:
                made.redis.resume()
            await playing.accepted()
            for number in range(2):
                before = max(poster.statuses[503] for poster in playing.posters)
                await asyncio.to_thread(made.redis.kill)
                await playing.refused(since=before + 3)
                late = Person(f"late{number}", TOPICS, [made.gateways[0].port], Random(number))
                async with coming(late):
                    await eventually(lambda: late.refused > 1)  # noqa: B023
                    await asyncio.to_thread(made.redis.restart)
                    playing.restarted = True
                    await playing.accepted()
                    await eventually(late.ready.is_set)
                assert late.faults == []


@pytest.mark.slow
async def test_a_redis_that_is_full_or_cannot_write(tmp_path: Path) -> None:
    with system(tmp_path, gateways=2) as made:
        made.redis.config_set("save", "3600 1000000")
        async with scene(made) as playing:
            made.redis.config_set("maxmemory", "1mb")
            await playing.refused(since=3)
            made.redis.config_set("maxmemory", "0")
            await playing.accepted()
            before = max(poster.statuses[503] for poster in playing.posters)
            masters = made.redis.masters()
            for master in masters:
                # A folder in the place of the snapshot makes BGSAVE fail, and Redis refuse writes (MISCONF).
                (master.folder / "dump.rdb" / "in the way").mkdir(parents=True)
                master.redis.bgsave()
            await playing.refused(since=before + 3)
            assert {master.redis.info("persistence")["rdb_last_bgsave_status"] for master in masters} == {"err"}
            for master in masters:
                (master.folder / "dump.rdb" / "in the way").rmdir()
                (master.folder / "dump.rdb").rmdir()
                master.redis.bgsave()
            await playing.accepted()


@pytest.mark.slow
async def test_a_redis_that_comes_back_empty(tmp_path: Path) -> None:
    """What it had is lost, and nobody is told otherwise: everyone learns that something was missed, and goes on."""
    with system(tmp_path, redis={"appendonly": "no"}, node_ttl=2) as made:
        gateway = made.gateways[0]
        people = [Person(user, TOPICS, [gateway.port], Random(n)) for n, user in enumerate(USERS)]
        async with asyncio.timeout(120), posting() as http, gathered(people):
            poster = Poster(http, [gateway.origin])
            producer = Producer("p", USERS, TOPICS, poster, Random(SEED))
            for _ in range(10):
                assert await producer.step()
            await eventually(lambda: not behind([producer], people))
            epochs = {(person, channel): place.epoch for person in people for channel, place in person.places.items()}
            await asyncio.to_thread(made.redis.kill)
            await asyncio.to_thread(made.redis.restart)
            await asyncio.to_thread(gateway.until_ready)
            await eventually(
                lambda: all(person.places[channel].epoch != epoch for (person, channel), epoch in epochs.items())
            )
            for _ in range(20):
                assert await producer.step()
            await eventually(lambda: not behind([producer], people))
            assert complaints([producer], people) == []
        told = {fault for person in people for fault in person.faults}
        assert told == {f"not recovered in {channel}" for channel in (INBOX, *TOPICS)}
        assert {code for person in people for _, code in person.closes} == {3010}
