"""The guard: who is asked and in what order, and what a job is told when nobody can be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled, Unavailable
from fanout.channels.delivery import Delivery, EmailAddress, Mail, PushTarget
from fanout.deliver.breaker import FAILURES, RESTS
from fanout.deliver.bucket import Bucket
from fanout.deliver.circuit import REST
from fanout.deliver.guard import PATIENCE, Guard, Provider, Told
from fanout.deliver.stats import ChannelStats
from tests.fanout.office import Scripted, an_event


@dataclass
class Clock:
    """Moved by the test."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


MAIL = Delivery("0" * 32, "email", "alice", EmailAddress("a@b.example"), Mail("s", "t"), an_event())


def pushed(host: str) -> Delivery:
    return Delivery(
        "0" * 32, "push", "alice", PushTarget("d", "webpush", f"https://{host}/x"), Mail("s", "t"), an_event()
    )


class Desk:
    """Two providers, the second for failover."""

    def __init__(
        self, kind: str = "email", places: int = 8, bucket: Bucket | None = None, timeout: float = 5.0
    ) -> None:
        self.clock, self.stats = Clock(), ChannelStats(kind)
        self.first, self.second = Scripted(), Scripted()
        self.providers = (Provider("first", self.first, bucket), Provider("second", self.second))
        self.guard = Guard(
            {kind: self.providers}, self.clock, self.stats, places=places, timeout=timeout, chance=lambda: 0.0
        )

    async def send(self, delivery: Delivery = MAIL, kind: str = "email") -> Told:
        async with asyncio.timeout(10):
            return await self.guard.send(kind, delivery)


def always(outcome: Outcome) -> Callable[[Delivery], Outcome]:
    return lambda delivery: outcome


async def test_the_first_provider_takes_it() -> None:
    desk = Desk()
    assert await desk.send() == Told(Done(), "first")
    assert desk.second.taken == []
    assert desk.stats.outcomes == {("first", "done"): 1}


@pytest.mark.parametrize(
    "outcome", [Unavailable("no connection"), Misconfigured("401"), Throttled(9.0, Scope.ENDPOINT)]
)
async def test_who_has_certainly_not_taken_it_hands_it_on(outcome: Outcome) -> None:
    desk = Desk()
    desk.first.rule = always(outcome)
    assert await desk.send() == Told(Done(), "second")


@pytest.mark.parametrize(
    "outcome", [Retry("timeout"), Gone("x"), Rejected("x"), Expired(), Throttled(9.0, Scope.TARGET)]
)
async def test_who_may_have_taken_it_or_has_spoken_for_all_does_not(outcome: Outcome) -> None:
    desk = Desk()
    desk.first.rule = always(outcome)
    assert await desk.send() == Told(outcome, "first")
    assert desk.second.taken == []


async def test_a_provider_that_is_down_is_passed_by_until_a_probe_finds_it_again() -> None:
    desk = Desk()
    desk.first.rule = always(Retry("500"))
    told = [(await desk.send()).outcome for _ in range(FAILURES)]
    assert told == [Retry("500"), Retry("500"), Throttled(RESTS[0], Scope.TARGET, "500")]
    assert await desk.send() == Told(Done(), "second")
    desk.guard.refresh()
    assert desk.stats.open_breakers == 1
    desk.clock.now += RESTS[0]
    desk.first.rule = always(Done())
    assert await desk.send() == Told(Done(), "first")
    desk.guard.refresh()
    assert desk.stats.open_breakers == 0


async def test_when_all_are_down_the_job_waits_for_the_first_that_may_be_back() -> None:
    desk = Desk()
    desk.first.rule = desk.second.rule = always(Unavailable("no connection"))
    assert (await desk.send()).outcome == Unavailable("no connection")
    for _ in range(FAILURES):
        told = await desk.send()
    assert told.outcome == Throttled(RESTS[0], Scope.CHANNEL, "the provider is away")
    desk.clock.now += 4
    assert isinstance(waits := (await desk.send()).outcome, Throttled)
    assert waits.after == RESTS[0] - 4
    assert len(desk.first.taken) == FAILURES


async def test_a_provider_that_does_not_accept_us_rests(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.first.rule = desk.second.rule = always(Misconfigured("401"))
    assert (await desk.send()).outcome == Throttled(REST, Scope.CHANNEL, "401")
    assert (await desk.send()).outcome == Throttled(REST, Scope.CHANNEL, "the provider does not accept us")
    assert (len(desk.first.taken), len(desk.second.taken)) == (1, 1)
    assert "a provider does not accept us" in caplog.text
    desk.guard.refresh()
    assert desk.stats.resting == 2
    desk.clock.now += REST
    desk.first.rule = always(Done())
    assert await desk.send() == Told(Done(), "first")


async def test_a_push_service_that_does_not_accept_us_stops_no_other() -> None:
    desk = Desk("webpush")
    desk.first.rule = desk.second.rule = lambda d: Misconfigured("403") if "strict" in repr_target(d) else Done()
    for _ in range(2):
        told = await desk.send(pushed("strict.example"), "webpush")
        assert isinstance(told.outcome, Throttled)
        assert await desk.send(pushed("other.example"), "webpush") == Told(Done(), "first")
    assert len([one for one in desk.first.taken if "strict" in repr_target(one)]) == 1
    desk.guard.refresh()
    assert desk.stats.resting == 2


async def test_waits_are_spread_so_that_nobody_comes_back_together() -> None:
    chances = iter((0.0, 0.5, 1.0))
    desk = Desk()
    sender = Scripted(rule=always(Throttled(100.0, Scope.TARGET)))
    guard = Guard(
        {"email": (Provider("p", sender),)}, desk.clock, desk.stats, places=8, timeout=5.0, chance=lambda: next(chances)
    )
    waits = [(await guard.send("email", MAIL)).outcome for _ in range(3)]
    assert [wait.after for wait in waits if isinstance(wait, Throttled)] == [100.0, 112.5, 125.0]


async def test_without_a_provider_it_waits_for_one(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    for _ in range(1_000):
        told = await desk.send(kind="fcm")
    assert told.outcome == Throttled(REST, Scope.CHANNEL, "no provider is configured for fcm")
    assert [record.message for record in caplog.records] == ["no provider is configured"]
    desk.clock.now += REST
    await desk.send(kind="fcm")
    assert len(caplog.records) == 2


async def test_a_host_that_is_down_stops_no_other() -> None:
    desk = Desk("webpush")
    desk.first.rule = lambda d: Unavailable("x") if "bad" in repr_target(d) else Done()
    desk.second.rule = always(Unavailable("x"))
    for _ in range(FAILURES):
        await desk.send(pushed("bad.example"), "webpush")
    assert isinstance((await desk.send(pushed("bad.example"), "webpush")).outcome, Throttled)
    assert (await desk.send(pushed("good.example"), "webpush")).outcome == Done()


def repr_target(delivery: Delivery) -> str:
    assert isinstance(delivery.target, PushTarget)
    return delivery.target.target


async def test_a_slow_host_leaves_room_for_the_others() -> None:
    desk = Desk("webpush", places=8)
    gate = desk.first.gate = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        slow = [group.create_task(desk.send(pushed("slow.example"), "webpush")) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert desk.stats.under_way == 2
        desk.clock.now += 3
        assert await desk.send(pushed("slow.example"), "webpush") == Told(Done(), "second")
        gate.set()
        assert [await task for task in slow] == [Told(Done(), "first")] * 2
    assert desk.stats.under_way == 0


async def test_a_call_that_takes_too_long_may_have_arrived() -> None:
    desk = Desk(timeout=0.01)
    desk.first.gate = asyncio.Event()
    assert await desk.send() == Told(Retry("no answer in time"), "first")


async def test_a_rate_is_waited_for_here_when_it_is_near_and_elsewhere_when_it_is_not() -> None:
    desk = Desk(bucket=Bucket(rate=100.0, burst=1))
    assert await desk.send() == Told(Done(), "first")
    assert await desk.send() == Told(Done(), "first")  # ten milliseconds later
    slow = Desk(bucket=Bucket(rate=0.5 / PATIENCE, burst=1))
    slow.second.rule = always(Unavailable("x"))
    assert await slow.send() == Told(Done(), "first")
    assert (await slow.send()).outcome == Unavailable("x")
    assert len(slow.first.taken) == 1


async def test_a_call_that_is_broken_off_leaves_no_probe_behind() -> None:
    desk = Desk()
    desk.first.rule = desk.second.rule = always(Unavailable("x"))
    for _ in range(FAILURES):
        await desk.send()
    desk.clock.now += RESTS[0]
    desk.first.gate = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        probing = group.create_task(desk.send())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        probing.cancel()
    desk.first.gate = None
    desk.first.rule = always(Done())
    assert await desk.send() == Told(Done(), "first")


async def test_it_closes_all_senders() -> None:
    desk = Desk()
    await desk.guard.close()
    assert desk.first.closed
    assert desk.second.closed
