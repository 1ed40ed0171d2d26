"""Fairness between producers: a flood of one does not delay another's few, in the delivery workers of a channel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from bus.event import Event
from bus.keys import Keys
from bus.outcome import Done
from fanout.channels.delivery import Delivery
from fanout.deliver.guard import Provider
from fanout.job import Job, delivery_id
from tests.fanout.office import Scripted, Town, an_event, town, until

USERS = [f"user{number}" for number in range(24)]
WINDOW = 32


@pytest_asyncio.fixture
async def place(redis_server: Any, keys: Keys) -> AsyncIterator[Town]:
    async with town(redis_server.url, keys) as made:
        for user in USERS:
            await made.person(user)
        yield made


async def prepare(place: Town, source: str) -> Event:
    """An event of a source, in everybody's inbox."""
    event = an_event(1, source=source)
    for user in USERS:
        await place.place(event, user)
    return event


async def flood(place: Town, event: Event, count: int) -> None:
    """So many mails of an event, to everybody in turn."""
    to = [USERS[number % len(USERS)] for number in range(count)]
    jobs = [Job(delivery_id(f"{event.ref}{n}", user, "email"), event.ref, user) for n, user in enumerate(to)]
    keys = place.keys
    await place.pipe.asks(("XADD", keys.jobs(keys.partition(job.user), "email"), "*", *job.fields()) for job in jobs)


class Slow(Scripted):
    """A provider that takes a moment for each."""

    async def send(self, delivery: Delivery) -> Any:
        self.taken.append(delivery)
        await asyncio.sleep(0.002)
        return Done()


def sources(sender: Scripted) -> list[str]:
    return [delivery.event.source for delivery in sender.taken]


async def test_two_thousand_of_one_do_not_delay_twenty_of_another(place: Town) -> None:
    sender = Slow()
    loud, quiet = await prepare(place, "loud"), await prepare(place, "quiet")
    await flood(place, loud, 2_000)
    async with place.working("email", providers={"email": (Provider("main", sender),)}, email_concurrency=WINDOW):
        await until(lambda: len(sender.taken) >= 200)
        await flood(place, quiet, 20)
        before = len(sender.taken)
        await until(lambda: sources(sender).count("quiet") == 20)
        last = max(number for number, source in enumerate(sources(sender)) if source == "quiet")
        assert last - before < 8 * WINDOW
        await until(lambda: len(sender.taken) == 2_020)
        await place.quiet("email", user=USERS[0])
    assert len(set(sender.ids)) == 2_020


async def test_those_who_flood_together_get_alike(place: Town) -> None:
    sender = Slow()
    first, second = await prepare(place, "first"), await prepare(place, "second")
    await flood(place, first, 600)
    await flood(place, second, 600)
    async with place.working("email", providers={"email": (Provider("main", sender),)}, email_concurrency=WINDOW):
        await until(lambda: len(sender.taken) == 1_200)
        among = sources(sender)[200:800]
        assert 200 < among.count("first") < 400
    assert len(set(sender.ids)) == 1_200


async def test_what_was_taken_past_others_is_not_taken_twice_by_the_next_worker(place: Town) -> None:
    sender, other = Slow(), Slow()
    loud, quiet = await prepare(place, "loud"), await prepare(place, "quiet")
    await flood(place, loud, 400)
    async with place.working("email", providers={"email": (Provider("main", sender),)}, email_concurrency=8) as stop:
        await until(lambda: len(sender.taken) >= 100)
        await flood(place, quiet, 20)
        await until(lambda: sources(sender).count("quiet") >= 10)
        stop.set()
        async with place.working("email", providers={"email": (Provider("main", other),)}, email_concurrency=8):
            await until(lambda: len(sender.taken) + len(other.taken) >= 420)
    assert sorted(sender.ids + other.ids) == sorted(set(sender.ids + other.ids))


async def test_a_producer_is_kept_to_its_rate_of_a_channel_and_others_are_not(place: Town) -> None:
    sender = Scripted()
    producers = {"loud": {"channels": {"email": 40}}}
    loud, quiet = await prepare(place, "loud"), await prepare(place, "quiet")
    await flood(place, loud, 120)
    await flood(place, quiet, 40)
    began = place.clock.monotonic()
    async with place.working("email", providers={"email": (Provider("main", sender),)}, producers=producers):
        await until(lambda: sources(sender).count("quiet") == 40)
        assert sources(sender).count("loud") <= 40 * (1 + place.clock.monotonic() - began) + 1
        assert sources(sender).count("loud") < 120
        await until(lambda: len(sender.taken) == 160)
        assert place.clock.monotonic() - began > 1.8
    assert len(set(sender.ids)) == 160
