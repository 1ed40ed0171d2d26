"""What every sender promises, as one suite: a subclass says how its provider answers in each situation.

    class TestEmail(SenderContract):
        @asynccontextmanager
        async def stand(self, situation: Situation) -> AsyncIterator[Stand]: ...

    TestEmail.test_asked_to_wait_until_a_date = None     # where the provider's protocol knows no such answer

The provider is a fake on loopback that answers as the real one documents; the sender is the real one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from enum import Enum, auto
from typing import Any

import pytest

from bus.event import Event
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Throttled, Unavailable
from fanout.channels.delivery import Delivery, Sender

NOW = 1_800_000_000.0
"""Unix time at which `FixedClock` stands."""
LIMIT = 20.0
WAIT = 7
"""Seconds that the provider asks for in the situations of throttling."""
TITLE, BODY = "Your code is 493817", "Never tell it to anyone, not even to us."
"""What the message says; none of it may appear in a reason or a log."""


class Situation(Enum):
    """What the provider is to do with what it is sent."""

    ACCEPTS = auto()
    BUSY = auto()
    """It fails in a way that passes (5xx of HTTP, 4xx of SMTP)."""
    ASKS_FOR_SECONDS = auto()
    """Too many requests; `Retry-After: 7`."""
    ASKS_FOR_A_DATE = auto()
    """Too many requests; `Retry-After` with the date that is 7 s after `NOW`: see `wait_date`."""
    ASKS_FOR_LESS = auto()
    """Too many requests, and no word on when to come back."""
    KNOWS_NO_TARGET = auto()
    REFUSES_MESSAGE = auto()
    REFUSES_US = auto()
    """Our credentials are wrong."""
    HANGS = auto()
    """It takes the request and says nothing; the sender's timeout is to be short."""
    CUTS = auto()
    """It takes the request and drops the connection."""
    ABSENT = auto()
    """Nobody listens there."""


def wait_date() -> str:
    """The date form of `Retry-After` for `WAIT` seconds after `NOW`."""
    return format_datetime(datetime.fromtimestamp(NOW + WAIT, UTC), usegmt=True)


@dataclass
class FixedClock:
    """A clock that stands, until a test moves it."""

    now: float = NOW

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@dataclass
class Stand:
    """A sender before its provider, and a delivery for it."""

    sender: Sender
    delivery: Delivery
    secrets: tuple[str, ...]
    """What may never appear in a reason or a log: credentials, the address or token of the target."""
    keys: Callable[[], list[str]] = field(default=lambda: [])
    """The idempotency keys that the provider saw, one per message that reached it."""


def event(**changes: Any) -> Event:
    """What a delivery of the suite is about."""
    return Event(**{"id": "e1", "source": "shop", "type": "order.shipped", "created_at": NOW, **changes})


class SenderContract:
    """Every test is a situation and what a sender must make of it."""

    def stand(self, situation: Situation) -> AbstractAsyncContextManager[Stand]:
        """The sender and a provider that behaves so, for the length of the block."""
        raise NotImplementedError

    async def outcome(self, situation: Situation, caplog: pytest.LogCaptureFixture) -> Outcome:
        """What the sender makes of the situation, its words checked for what they may not say."""
        async with asyncio.timeout(LIMIT), self.stand(situation) as stand:
            with caplog.at_level("DEBUG"):
                found = await stand.sender.send(stand.delivery)
        said = repr(found) + "".join(
            f"{record.getMessage()} {record.__dict__}" for record in caplog.records if record.name.startswith("fanout")
        )
        for secret in (*stand.secrets, TITLE, BODY):
            assert secret not in said
        return found

    async def test_accepted_is_done(self, caplog: pytest.LogCaptureFixture) -> None:
        assert await self.outcome(Situation.ACCEPTS, caplog) == Done()

    async def test_a_failure_that_passes_is_tried_again(self, caplog: pytest.LogCaptureFixture) -> None:
        assert isinstance(await self.outcome(Situation.BUSY, caplog), Retry)

    async def test_asked_to_wait_some_seconds(self, caplog: pytest.LogCaptureFixture) -> None:
        found = await self.outcome(Situation.ASKS_FOR_SECONDS, caplog)
        assert isinstance(found, Throttled)
        assert found.after == WAIT

    async def test_asked_to_wait_until_a_date(self, caplog: pytest.LogCaptureFixture) -> None:
        found = await self.outcome(Situation.ASKS_FOR_A_DATE, caplog)
        assert isinstance(found, Throttled)
        assert found.after == WAIT

    async def test_asked_for_less_without_a_time(self, caplog: pytest.LogCaptureFixture) -> None:
        found = await self.outcome(Situation.ASKS_FOR_LESS, caplog)
        assert isinstance(found, Throttled)
        assert found.after > 0

    async def test_a_target_that_is_unknown_is_gone(self, caplog: pytest.LogCaptureFixture) -> None:
        found = await self.outcome(Situation.KNOWS_NO_TARGET, caplog)
        assert isinstance(found, Gone)
        assert found.reason

    async def test_a_message_that_is_refused_stays_refused(self, caplog: pytest.LogCaptureFixture) -> None:
        found = await self.outcome(Situation.REFUSES_MESSAGE, caplog)
        assert isinstance(found, Rejected)
        assert found.reason

    async def test_wrong_credentials_are_our_own_fault(self, caplog: pytest.LogCaptureFixture) -> None:
        assert isinstance(await self.outcome(Situation.REFUSES_US, caplog), Misconfigured)

    async def test_silence_after_sending_may_have_been_a_success(self, caplog: pytest.LogCaptureFixture) -> None:
        assert isinstance(await self.outcome(Situation.HANGS, caplog), Retry)

    async def test_a_connection_lost_after_sending_may_have_been_a_success(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        assert isinstance(await self.outcome(Situation.CUTS, caplog), Retry)

    async def test_a_provider_that_is_not_there_was_never_reached(self, caplog: pytest.LogCaptureFixture) -> None:
        assert isinstance(await self.outcome(Situation.ABSENT, caplog), Unavailable)

    async def test_a_repeat_carries_the_same_key(self) -> None:
        async with asyncio.timeout(LIMIT), self.stand(Situation.ACCEPTS) as stand:
            for _ in range(2):
                assert await stand.sender.send(stand.delivery) == Done()
            seen = stand.keys()
            assert len(seen) == 2
            assert seen[0] == seen[1] != ""

    async def test_it_closes_twice(self) -> None:
        async with asyncio.timeout(LIMIT), self.stand(Situation.ACCEPTS) as stand:
            await stand.sender.send(stand.delivery)
            await stand.sender.close()
            await stand.sender.close()
