"""May this step be taken now? Asked when the step is due, and again by the sender just before its call. Pure.

The order matters to whoever asks why: what makes a step pointless for everybody comes first, then what the person has
done, then what the person chose, then whether there is anywhere to send it, and last whether now is the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from bus.people.categories import Category
from bus.people.preferences import Preferences, held_until, refusal

WITHDRAWN: Final = "withdrawn"
EXPIRED: Final = "expired"
ACKED: Final = "acked"
READ: Final = "read"
NO_TARGET: Final = "no target"
QUIET_HOURS: Final = "quiet hours"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known, at one moment, of an event and a person."""

    category: Category
    preferences: Preferences
    zone: str
    """Where the person is if their preferences do not say so: the time zone of the profile, or the default."""
    has_target: bool
    """Whether there is an address, a number or an active device for the channel in question."""
    acked: bool = False
    """Some session or device of theirs has it."""
    read: bool = False
    withdrawn: bool = False
    expires_at: float | None = None
    """Unix time in seconds; None: never."""


@dataclass(frozen=True, slots=True)
class Go:
    """Take the step."""


@dataclass(frozen=True, slots=True)
class Cancel:
    """The step is not needed: the person has it, or there is nothing to have any more."""

    reason: str

    @property
    def ends_ladder(self) -> bool:
        """Whether all steps behind it are pointless too."""
        return self.reason in (WITHDRAWN, EXPIRED)


@dataclass(frozen=True, slots=True)
class Skip:
    """The step cannot or may not be taken for this person; the next one may."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Not now: ask again at Unix time `until`, in seconds."""

    until: float
    reason: str


Verdict = Go | Cancel | Skip | Defer


def gate(standing: Standing, via: str, unless: str | None, now: float) -> Verdict:
    """Whether to take a step by channel `via`, whose condition is `unless`, at Unix time `now`."""
    if pointless := _pointless(standing, unless, now):
        return Cancel(pointless)
    if refused := refusal(standing.preferences, standing.category, via):
        return Skip(refused)
    if not standing.has_target:
        return Skip(NO_TARGET)
    until = held_until(standing.preferences, standing.category, via, standing.zone, now)
    return Go() if until is None else Defer(until, QUIET_HOURS)


def _pointless(standing: Standing, unless: str | None, now: float) -> str | None:
    if standing.withdrawn:
        return WITHDRAWN
    if standing.expires_at is not None and now >= standing.expires_at:
        return EXPIRED
    if unless is None:
        return None
    if standing.read:  # who has read it has it
        return READ
    return ACKED if standing.acked and unless == "acked" else None
