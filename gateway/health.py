"""Whether a node would deliver what came now: three states and what leads from one to another, as a table. Pure.

A *proof* is a message of the node's own that went through Redis to the node's own stream and came back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from bus.settings import BadSetting


class Health(Enum):
    """What a node knows of its way to Redis and back."""

    HEALTHY = "healthy"
    STALE = "stale"
    """No proof for some seconds: not ready, but connections stay and are pinged."""
    ISOLATED = "isolated"
    """No proof for long: takes no more clients, and sends its own away."""


class Finding(Enum):
    """How old the newest proof is."""

    FRESH = "fresh"
    OVERDUE = "older than stale_after"
    LOST = "older than isolated_after"


TRANSITIONS: Final[Mapping[Health, Mapping[Finding, Health]]] = {
    Health.HEALTHY: {Finding.FRESH: Health.HEALTHY, Finding.OVERDUE: Health.STALE, Finding.LOST: Health.ISOLATED},
    Health.STALE: {Finding.FRESH: Health.HEALTHY, Finding.OVERDUE: Health.STALE, Finding.LOST: Health.ISOLATED},
    # It may not waver: the clients it took back would be sent away again.
    Health.ISOLATED: {Finding.FRESH: Health.HEALTHY, Finding.OVERDUE: Health.ISOLATED, Finding.LOST: Health.ISOLATED},
}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds without a proof after which a node is stale, and isolated. Raises `BadSetting`."""

    stale_after: float
    isolated_after: float

    def __post_init__(self) -> None:
        if not 0 < self.stale_after < self.isolated_after:
            raise BadSetting("isolated_after must be longer than stale_after, and both longer than 0")

    def finding(self, seconds: float) -> Finding:
        """What a proof of this age is worth."""
        if seconds < self.stale_after:
            return Finding.FRESH
        return Finding.OVERDUE if seconds < self.isolated_after else Finding.LOST


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a node answers to who asks whether an event that came now would reach connections there."""

    ready: bool
    state: str
    """A `Health`, or "draining"."""
    seconds: float
    """Age of the newest proof."""


class Vigil:
    """One node's state. It begins stale: nothing was proved yet."""

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._begun = now
        self._proved: float | None = None
        self.state = Health.STALE

    def seconds(self, now: float) -> float:
        """Age of the newest proof at monotonic `now`, or of the node where there was none."""
        return now - (self._begun if self._proved is None else self._proved)

    def prove(self, sent: float) -> None:
        """A message sent at monotonic `sent` came back: the way was there then, later is not said."""
        if self._proved is None or sent > self._proved:
            self._proved = sent

    def look(self, now: float) -> bool:
        """Find out where it stands at monotonic `now`; whether that is new."""
        finding = self._patience.finding(self.seconds(now))
        if finding is Finding.FRESH and self._proved is None:
            return False
        before, self.state = self.state, TRANSITIONS[self.state][finding]
        return self.state is not before


def as_markdown() -> str:
    """The table for the documentation."""
    rows = [["state", *(finding.value for finding in Finding)], ["---"] * (len(Finding) + 1)]
    rows += [[state.value, *(moves[finding].value for finding in Finding)] for state, moves in TRANSITIONS.items()]
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)
