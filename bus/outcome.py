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
    """The other side asks for less; counts no attempt."""

    after: float
    scope: Scope


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


Outcome = Done | Retry | Throttled | Gone | Rejected | Misconfigured | Expired | Unavailable
