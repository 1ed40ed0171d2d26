"""Between the jobs of a channel and its providers: failover in order, breakers, rates, and rest where we are wrong.

A provider that was never reached, asks for less or does not accept us hands the job on to the next one at once. One
that may have taken it (a timeout, a 5xx) does not: the job waits for its next attempt, or it would arrive twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bus.clock import Clock
from bus.outcome import Misconfigured, Outcome, Retry, Scope, Throttled, Unavailable
from fanout.channels.delivery import Delivery, Sender
from fanout.deliver.bucket import Bucket
from fanout.deliver.circuit import REST, Circuit, Circuits
from fanout.deliver.deadlines import Deadlines
from fanout.deliver.stats import ChannelStats

PATIENCE: Final = 1.0
"""Longest wait for a provider's rate, in seconds, that is spent in place; who has longer to wait comes back."""
SPREAD: Final = 0.25
"""Share of a wait that is added at random, so that what waited together does not come back together."""

MANY_HOSTS: Final = frozenset(("webpush", "webhook"))
"""Kinds whose targets lead to many hosts."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Provider:
    """One table of the settings, made into a sender."""

    name: str
    sender: Sender
    bucket: Bucket | None = None
    circuits: Circuits = field(default_factory=Circuits)


@dataclass(frozen=True, slots=True)
class Told:
    """What came of a delivery, and by whom; no name where nobody was asked."""

    outcome: Outcome
    provider: str = ""


class Guard:
    """The providers of one channel, by kind (webpush, fcm, apns; else the channel), in the order of failover.

    `places`: how many deliveries of the channel may be under way at once; `timeout`: seconds for a call, the last
    resort beside the sender's own.
    """

    def __init__(
        self,
        providers: Mapping[str, Sequence[Provider]],
        clock: Clock,
        stats: ChannelStats,
        *,
        places: int,
        timeout: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._providers, self._clock, self._stats = providers, clock, stats
        # Where all that is sent goes the same way, there is nobody whom a slow provider could crowd out.
        others = sum(map(len, providers.values())) > 1 or not MANY_HOSTS.isdisjoint(providers)
        self._places = places if others else 0
        self._deadlines, self._chance = Deadlines(timeout), chance
        self._told_of: dict[str, float] = {}
        """Kinds that have no provider, and when that was last said."""

    async def send(self, kind: str, delivery: Delivery) -> Told:
        """Hand a delivery to the first provider of its kind that takes it."""
        passed: list[Told] = []
        for provider in self._providers.get(kind, ()):
            told = await self._try(provider, delivery)
            if not _passes_on(told.outcome):
                return self._spread(told)
            passed.append(told)
        return self._spread(self._waiting(kind, passed))

    async def close(self) -> None:
        """Close all senders."""
        for providers in self._providers.values():
            for provider in providers:
                await provider.sender.close()

    def refresh(self) -> None:
        """Bring the gauges of the statistics up to date."""
        every = [provider for providers in self._providers.values() for provider in providers]
        now = self._clock.monotonic()
        self._stats.open_breakers = sum(provider.circuits.open for provider in every)
        self._stats.resting = sum(provider.circuits.refusing(now) for provider in every)

    # One provider ------------------------------------------------------------------------------------------------

    async def _try(self, provider: Provider, delivery: Delivery) -> Told:
        now = self._clock.monotonic()
        circuit = provider.circuits.of(delivery.target)
        if (refused := self._rate(provider, now) or circuit.admit(now, self._places)) is not None:
            return Told(refused)
        outcome = await self._call(provider, circuit, delivery)
        self._stats.outcomes[provider.name, type(outcome).__name__.lower()] += 1
        if isinstance(outcome, Misconfigured):
            log.error(
                "a provider does not accept us",
                extra={
                    "channel": self._stats.channel,
                    "provider": provider.name,
                    "seconds": REST,
                    "reason": outcome.reason,
                },
            )
        return Told(outcome, provider.name)

    @staticmethod
    def _rate(provider: Provider, now: float) -> Throttled | None:
        """Why a call would come too early to be waited for here."""
        if provider.bucket is None or provider.bucket.wait(now) <= PATIENCE:
            return None
        return Throttled(provider.bucket.put_off(now), Scope.ENDPOINT, "the provider's rate is reached")

    async def _call(self, provider: Provider, circuit: Circuit, delivery: Delivery) -> Outcome:
        number = circuit.begin(self._clock.monotonic())
        outcome: Outcome | None = None
        self._stats.under_way += 1
        try:
            outcome = await self._timed(provider, delivery)
        finally:
            self._stats.under_way -= 1
            outcome = circuit.end(number, outcome, self._clock.monotonic())
        assert outcome is not None
        return outcome

    async def _timed(self, provider: Provider, delivery: Delivery) -> Outcome:
        if provider.bucket is not None and (wait := provider.bucket.take(self._clock.monotonic())):
            await asyncio.sleep(wait)
        began = self._clock.monotonic()
        try:
            return await self._deadlines.within(provider.sender.send(delivery))
        except TimeoutError:
            return Retry("no answer in time")
        finally:
            self._stats.seconds.observe(self._clock.monotonic() - began)

    # All of them -------------------------------------------------------------------------------------------------

    def _waiting(self, kind: str, passed: Sequence[Told]) -> Told:
        """None of the providers took it: when to ask again."""
        if not passed:
            self._tell_of(kind)
            return Told(Throttled(REST, Scope.CHANNEL, f"no provider is configured for {kind}"))
        for told in passed:
            if isinstance(told.outcome, Unavailable):
                return told
        soonest = min(passed, key=lambda told: _wait(told.outcome))
        wait = Throttled(_wait(soonest.outcome), Scope.CHANNEL, _reason(soonest.outcome))
        return Told(wait, soonest.provider)

    def _tell_of(self, kind: str) -> None:
        """Say that a kind has no provider, but not for each of all the jobs that wait for one."""
        now = self._clock.monotonic()
        if now - self._told_of.get(kind, -REST) >= REST:
            self._told_of[kind] = now
            log.error("no provider is configured", extra={"channel": self._stats.channel, "provider": kind})

    def _spread(self, told: Told) -> Told:
        if not isinstance(told.outcome, Throttled):
            return told
        after = told.outcome.after * (1 + SPREAD * self._chance())
        return replace(told, outcome=replace(told.outcome, after=after))


def _passes_on(outcome: Outcome) -> bool:
    """Whether the next provider may be asked: this one has certainly not taken it, and is itself the reason."""
    if isinstance(outcome, Throttled):
        return outcome.scope is not Scope.TARGET
    return isinstance(outcome, Unavailable | Misconfigured)


def _wait(outcome: Outcome) -> float:
    return outcome.after if isinstance(outcome, Throttled) else REST


def _reason(outcome: Outcome) -> str:
    return outcome.reason if isinstance(outcome, Throttled | Misconfigured | Unavailable) else ""
