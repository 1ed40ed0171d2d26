"""What handling one entry led to: a closed set of values, shared by every queue."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Scope(Enum):
    """How far a throttle reaches."""

    TARGET = "target"
    ENDPOINT = "endpoint"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class Done:
    """It is done."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed in a way that may pass; `after` seconds, where the other side named a time."""

    reason: str
    after: float | None = None


@dataclass(frozen=True, slots=True)
class Throttled:
    """The other side asks for less, or is known to be away; counts no attempt."""

    after: float
    scope: Scope
    reason: str = "throttled"


@dataclass(frozen=True, slots=True)
class Gone:
    """The target no longer exists."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The entry itself is unacceptable and will stay so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Our own credentials or settings are wrong; no entry is to blame."""

    reason: str


@dataclass(frozen=True, slots=True)
class Expired:
    """Its time is over."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Something that everything needs is away (Redis, the network); the entry is not to blame and no attempt counts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """It is not needed any more: acked, read or withdrawn."""

    reason: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """It may not or cannot be done for this person: a preference, no target."""

    reason: str


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not now: to be asked again in `after` seconds; counts no attempt."""

    after: float
    reason: str


Outcome = (
    Done | Retry | Throttled | Gone | Rejected | Misconfigured | Expired | Unavailable | Cancelled | Skipped | Deferred
)
