"""Outcome and attempt to settlement: the only place that decides about retrying, burying and pausing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Throttled, Unavailable


@dataclass(frozen=True, slots=True)
class Ack:
    """Finished; take it off the queue."""


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

    def settle(self, outcome: Outcome, attempt: int, chance: float) -> Settlement:
        """`attempt` counts from 1; `chance` is a random number from 0 to 1, handed in to keep this pure."""
        match outcome:
            case Done() | Gone() | Expired():
                return Ack()
            case Rejected(reason):
                return Bury(reason)
            case Throttled(after):
                return Defer(after, counted=False)
            case Misconfigured(reason):
                return Pause(self.pause, reason)
            case Unavailable():
                return Defer(self._spread(self.outage, chance), counted=False)
            case Retry(reason, after):
                if attempt > len(self.delays):
                    return Bury(reason)
                own = self._spread(self.delays[attempt - 1], chance)
                return Defer(own if after is None else max(own, after), counted=True)
            case _:
                assert_never(outcome)

    def _spread(self, delay: float, chance: float) -> float:
        return delay * (1 + self.jitter * (2 * chance - 1))


FANOUT = RetryPolicy(delays=(0.1, 0.3, 0.6, 1.0))
"""An entry of an ingest stream blocks its partition while it is retried, so it is given about two seconds."""
