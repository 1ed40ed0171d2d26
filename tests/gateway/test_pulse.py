"""The pulse: one probe at a time however many ask, and what is known when it does not come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from bus.errors import BusDown
from bus.pipe import OnReply
from gateway import pulse
from gateway.health import Health, Patience
from gateway.pulse import OVERDUE, Pulse
from gateway.stats import Stats


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


class Stream:
    """A node's own stream: keeps what was put on it until a test lets it come."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, OnReply]] = []
        self.states: list[Health] = []
        self.clock, self.stats, self.read_to = Clock(), Stats(), 0
        self.pulse = Pulse(
            lambda number, on_reply: self.sent.append((number, on_reply)),
            self.clock,
            Patience(3.0, 30.0),
            self.stats,
            lambda: self.read_to,
            self.states.append,
        )

    def comes(self) -> None:
        """The newest probe comes back."""
        self.pulse.probed(self.sent[-1][0])

    async def asked(self, *timeouts: float) -> list[bool]:
        """What so many who ask at once are told; a probe, if one was sent for them, comes back meanwhile."""
        async with asyncio.timeout(90), asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.pulse.proof(timeout)) for timeout in timeouts]
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if self.sent:
                self.comes()
        return [task.result() for task in tasks]


async def test_a_hundred_who_ask_are_one_probe_and_those_of_the_next_second_none() -> None:
    stream = Stream()
    assert await stream.asked(*[5.0] * 100) == [True] * 100
    assert len(stream.sent) == 1
    assert stream.pulse.state is Health.HEALTHY
    stream.clock.now += 0.9
    assert await stream.asked(*[5.0] * 100) == [True] * 100
    assert len(stream.sent) == 1
    stream.clock.now += 0.2
    assert await stream.asked(5.0) == [True]
    assert len(stream.sent) == 2


async def test_a_probe_that_does_not_come_is_followed_by_another_in_a_while() -> None:
    stream = Stream()
    assert not await stream.pulse.proof(0.01)
    assert not await stream.pulse.proof(0.01)
    assert len(stream.sent) == 1
    stream.clock.now += OVERDUE
    assert not await stream.pulse.proof(0.01)
    assert len(stream.sent) == 2
    stream.pulse.probed(stream.sent[0][0])  # the first, late: it says nothing of the second
    assert stream.pulse.seconds == OVERDUE
    assert not await stream.pulse.proof(0.01)
    stream.comes()
    assert stream.pulse.seconds == 0
    stream.pulse.probed(stream.sent[0][0])
    assert stream.pulse.seconds == 0


async def test_a_redis_that_is_slow_is_not_one_that_is_away() -> None:
    stream = Stream()
    for _ in range(60):
        stream.clock.now += OVERDUE
        await stream.pulse.proof(0)
        if len(stream.sent) > 2:
            stream.pulse.probed(stream.sent[-3][0])
        assert stream.pulse.state is Health.STALE
    assert stream.pulse.seconds == 2 * OVERDUE


async def test_probes_that_never_come_are_forgotten() -> None:
    stream = Stream()
    for _ in range(100):
        stream.clock.now += OVERDUE
        await stream.pulse.proof(0)
    assert len(stream.sent) == 100
    assert len(stream.pulse._under_way) == pulse.MOST


@pytest.mark.parametrize("reply", [BusDown("away"), 0])
async def test_one_that_was_not_even_put_there_is_followed_by_another_at_once(reply: object) -> None:
    stream = Stream()
    assert not await stream.pulse.proof(0.01)
    stream.sent[0][1](reply)
    assert not await stream.pulse.proof(0.01)
    assert len(stream.sent) == 2
    stream.sent[0][1](reply)  # too late to matter
    assert not await stream.pulse.proof(0.01)
    assert len(stream.sent) == 2


async def test_how_far_the_stream_is_ahead_is_known_from_the_probes_number() -> None:
    stream = Stream()
    stream.read_to = 40
    assert not await stream.pulse.proof(0.01)
    stream.sent[0][1](51)
    assert stream.stats.stream_lag == 10
    stream.read_to = 60
    stream.sent[0][1](51)
    assert stream.stats.stream_lag == 0


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110  # it beats by itself
            await asyncio.sleep(0.001)


async def test_it_beats_by_itself_and_tells_of_each_state_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse, "EVERY", 0.001)
    stream = Stream()
    async with asyncio.TaskGroup() as group:
        beating = group.create_task(stream.pulse.run())
        await until(lambda: bool(stream.sent))
        stream.comes()
        assert stream.states == [Health.HEALTHY]
        for seconds, state in ((4.0, Health.STALE), (30.0, Health.ISOLATED)):
            stream.clock.now += seconds
            await until(lambda state=state: stream.pulse.state is state)  # type: ignore[misc]
        assert (stream.stats.health, stream.stats.proof_seconds) == (2, 34.0)
        count = len(stream.sent)
        stream.clock.now += OVERDUE
        await until(lambda: len(stream.sent) > count)
        stream.comes()
        assert stream.states == [Health.HEALTHY, Health.STALE, Health.ISOLATED, Health.HEALTHY]
        assert (stream.stats.health, stream.stats.proof_seconds) == (0, 0.0)
        beating.cancel()
