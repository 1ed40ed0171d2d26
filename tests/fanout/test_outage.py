"""A provider is down for an hour, by a clock that the test steps: nothing burns its attempts, everything arrives."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.outcome import Done, Misconfigured, Outcome, Retry, Scope, Throttled, Unavailable
from bus.policy import SENDERS
from fanout.channels.delivery import Delivery
from fanout.deliver.breaker import FAILURES, RESTS
from fanout.deliver.guard import Guard, Provider
from fanout.deliver.stats import ChannelStats
from tests.fanout.office import Scripted, Town, town, until
from tests.servers import RedisSite

HOUR = 3600.0
STEP = 30.0
JOBS = 40


@dataclass
class Stepped(SystemClock):
    """The machine's clock, moved on by the test."""

    ahead: float = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


async def step(place: Town, clock: Stepped, seconds: float) -> None:
    """Let time go by, for the guard's clock and for what waits by Redis's, until all that is due has been worked."""
    clock.ahead += seconds
    await place.hasten("email", seconds)
    await place.caught_up("email")


@pytest.mark.slow
@pytest.mark.parametrize(
    "failure",
    [Retry("no answer in time"), Unavailable("no connection"), Misconfigured("401"), Throttled(60.0, Scope.ENDPOINT)],
)
async def test_an_hour_without_the_provider(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch, failure: Outcome
) -> None:
    monkeypatch.setattr("bus.jobs.LONGEST_WAIT", 0.02)
    down = [True]

    def rule(delivery: Delivery) -> Outcome:
        return failure if down[0] else Done()

    clock, sender = Stepped(), Scripted(rule)
    providers = {"email": (Provider("main", sender),)}
    guard = Guard(providers, clock, ChannelStats("email"), places=8, timeout=5.0)
    async with town(redis_server.url, keys) as place:
        await place.person()
        jobs = {(await place.send("email", number, expires_at=clock.wall() + 10 * HOUR)).id for number in range(JOBS)}
        async with place.desk("email", guard):
            await place.caught_up("email")
            for _ in range(int(HOUR / STEP)):
                await step(place, clock, STEP)
            calls = len(sender.taken)
            down[0] = False
            for _ in range(20):
                await step(place, clock, RESTS[-1])

            async def none_left() -> bool:
                return not await place.later("email")

            await until(none_left)
        attempts = max(delivery.attempt for delivery in sender.taken)
        told = await place.told()
        assert await place.dead() == []
    # What opened the breaker was one attempt of each of two jobs; from then on it was probed from time to time.
    assert attempts <= FAILURES < len(SENDERS["email"].delays)
    assert calls <= 100
    assert {delivery.id for delivery in sender.taken[calls:]} == jobs
    assert [kind for kind, _, _ in told].count("sent") == JOBS
    assert len(told) <= 5 * JOBS, "a long wait is not told over and over"


async def test_the_second_provider_carries_everything_meanwhile(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanout.deliver.breaker.RESTS", (HOUR,))  # by the machine's clock: nobody is probed here
    first, second = Scripted(lambda delivery: Unavailable("no connection")), Scripted()
    async with town(redis_server.url, keys) as place:
        await place.person()
        jobs = [(await place.send("email", number)).id for number in range(JOBS)]
        providers = {"email": (Provider("first", first), Provider("second", second))}
        async with place.working("email", providers=providers, email_concurrency=1):
            await place.quiet("email")
        assert sorted(second.ids) == sorted(jobs)
        assert {reason for kind, _, reason in await place.told() if kind == "sent"} == {"second"}
    assert len(first.taken) == FAILURES


async def test_however_many_wait_for_a_dead_endpoint_all_come_to_an_end(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bus.jobs.LONGEST_WAIT", 0.02)
    clock, sender = Stepped(), Scripted(lambda delivery: Retry("500"))
    guard = Guard({"webhook": (Provider("main", sender),)}, clock, ChannelStats("webhook"), places=8, timeout=5.0)
    async with town(redis_server.url, keys) as place:
        await place.person()
        jobs = {(await place.send("webhook", number)).id for number in range(JOBS)}
        async with place.desk("webhook", guard):
            hours = 0
            while len(await place.dead()) < JOBS:
                await place.caught_up("webhook")
                clock.ahead += HOUR
                await place.hasten("webhook", HOUR)
                hours += 1
                assert hours < 120
        dead = await place.dead()
    assert {letter[b"id"].decode() for letter in dead} == jobs
    assert {letter[b"attempts"] for letter in dead} == {b"10"}
    assert len(sender.taken) < JOBS * 10 / 2, "most of the attempts were spared the endpoint"
