"""Outcome and attempt to settlement: the only place that decides about retrying, burying and pausing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from bus.outcome import (
    Cancelled,
    Deferred,
    Done,
    Expired,
    Gone,
    Misconfigured,
    Outcome,
    Rejected,
    Retry,
    Skipped,
    Throttled,
    Unavailable,
)

MINUTE: Final = 60.0
HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Ack:
    """Finished; take it off the queue. `lapsed` says what it still waited for when its time was over."""

    lapsed: str = ""


@dataclass(frozen=True, slots=True)
class Defer:
    """Try again in `delay` seconds; `counted` says whether this attempt is held against the entry."""

    delay: float
    counted: bool


@dataclass(frozen=True, slots=True)
class Bury:
    """Move it to the dead letters with this reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Stop the whole queue for `delay` seconds, keep the entry, count nothing."""

    delay: float
    reason: str


Settlement = Ack | Defer | Bury | Pause


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits in seconds before the second, third, … attempt; after the last one the entry is buried."""

    delays: tuple[float, ...]
    jitter: float = 0.2
    """Share of a wait by which it may vary to either side."""
    pause: float = 60.0
    """How long a queue rests when our own settings are wrong, in seconds."""
    outage: float = 0.5
    """Base wait when something everything needs is away, in seconds."""

    def settle(self, outcome: Outcome, attempt: int, chance: float, left: float = math.inf) -> Settlement:
        """`attempt` counts from 1; `chance` is a random number from 0 to 1, handed in to keep this pure.

        `left`: seconds until nobody wants it any more; what could only be tried after that is given up now.
        """
        settlement = self._settle(outcome, attempt, chance)
        if isinstance(settlement, Defer) and settlement.delay >= left:
            return Ack(lapsed=_reason(outcome))
        return settlement

    def _settle(self, outcome: Outcome, attempt: int, chance: float) -> Settlement:
        match outcome:
            case Done() | Gone() | Expired() | Cancelled() | Skipped():
                return Ack()
            case Rejected(reason):
                return Bury(reason)
            case Throttled(after) | Deferred(after):
                return Defer(after, counted=False)
            case Misconfigured(reason):
                return Pause(self.pause, reason)
            case Unavailable():
                return Defer(self._spread(self.outage, chance), counted=False)
            case Retry(reason, after):
                return self._retry(reason, after, attempt, chance)
            case _:
                assert_never(outcome)

    def _retry(self, reason: str, after: float | None, attempt: int, chance: float) -> Settlement:
        if attempt > len(self.delays):
            return Bury(reason)
        own = self._spread(self.delays[attempt - 1], chance)
        return Defer(own if after is None else max(own, after), counted=True)

    def _spread(self, delay: float, chance: float) -> float:
        return delay * (1 + self.jitter * (2 * chance - 1))


def _reason(outcome: Outcome) -> str:
    return getattr(outcome, "reason", "")


FANOUT = RetryPolicy(delays=(0.1, 0.3, 0.6, 1.0))
"""An entry of an ingest stream blocks its partition while it is retried, so it is given about two seconds."""

SENDERS: Final[Mapping[str, RetryPolicy]] = {
    "push": RetryPolicy((1.0, 5.0, 30.0, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE)),
    # Mail servers that say "later" mean hours or days (RFC 5321 §4.5.4.1).
    "email": RetryPolicy((MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, 24 * HOUR)),
    "sms": RetryPolicy((5.0, 30.0, 2 * MINUTE)),
    # Standard Webhooks 1.0.0, "Deliverability and reliability".
    "webhook": RetryPolicy(
        (5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
    ),
}
"""By channel. A job waits apart, and blocks nobody."""
