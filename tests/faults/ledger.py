"""The ledger of a run: all that was accepted, seen, sent, buried and broken, as plain records with the time of each.

Whoever sees something writes it down and judges nothing; `tests.faults.checker` does. Times are seconds of one clock.
A channel is a topic's name, or `@<user>` for an inbox. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

STORED: Final = "stored"
REPLICATED: Final = "replicated"

OURS: Final = "tocsin."
"""What the names of publications begin with that no producer sent."""
REMOVED: Final = "tocsin.removed"
"""What lies at the place of an event that was withdrawn."""
NEVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that was accepted, or (`certain` false) perhaps was: nobody heard the answer."""

    event: str
    channels: tuple[str, ...]
    """Whom it is for."""
    at: float = 0.0
    mode: str = STORED
    partition: int = 0
    """Of the ingest stream it went to."""
    line: str = ""
    """What has the same line was sent to one partition, each after the one before was accepted; empty: no order."""
    certain: bool = True
    steps: tuple[str, ...] = ()
    """Channels of its ladder besides live, each to be ended somehow for each user."""
    wait: float = 0.0
    """Seconds before the first step that is not live."""
    poison: bool = False
    """It fails by itself, and is to be buried."""
    sent: float | None = None
    """When it was sent for the first time: it may have been stored then, and told so later. None: when accepted."""

    @property
    def began(self) -> float:
        """The earliest at which it can have been stored."""
        return self.at if self.sent is None else self.sent


@dataclass(frozen=True, slots=True)
class Began:
    """A device was told where it stands in a channel: at a subscription, a recovery or a resync."""

    device: str
    channel: str
    epoch: str
    offset: int
    """Where the server says what follows begins: the publications that come next have offset + 1 and so on."""
    recovered: bool | None = None
    """None: it asked for nothing."""
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Got:
    """A device got a publication."""

    device: str
    channel: str
    epoch: str
    offset: int
    event: str
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies in a log or inbox at the end."""

    channel: str
    epoch: str
    offset: int
    event: str


@dataclass(frozen=True, slots=True)
class Top:
    """Where a log or inbox ends."""

    channel: str
    epoch: str
    offset: int


@dataclass(frozen=True, slots=True)
class Called:
    """A provider took a request. `again`: it answered so that the request had to be made again."""

    key: str
    event: str
    user: str
    via: str
    at: float = 0.0
    again: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """What a person's trail says of a step's end. `acked`: it was not needed, because they have the event."""

    event: str
    user: str
    via: str
    acked: bool = False


@dataclass(frozen=True, slots=True)
class Buried:
    """A dead letter: of a whole event (`channel` empty), or of one recipient or delivery."""

    event: str
    channel: str = ""
    via: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something was broken from `at` until `until`.

    `interrupts`: who was amid a call to a provider may have to make it again. `loses`: partitions of which writes
    accepted meanwhile may be gone, because Redis itself lost them.
    """

    kind: str
    at: float
    until: float
    interrupts: bool = True
    loses: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """A DELETE that returned then."""

    event: str
    at: float


@dataclass(frozen=True, slots=True)
class Drained:
    """A user whose node was drained, and when a device of theirs was connected again."""

    user: str
    at: float
    back: float = NEVER


@dataclass(frozen=True, slots=True)
class Queue:
    """A look at a queue, taken in one step: the newest entry acked, and those pending; ids as (ms, number)."""

    name: str
    acked: tuple[int, int]
    pending: tuple[tuple[int, int], ...] = ()
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """A script held Redis for so many seconds."""

    script: str
    seconds: float


@dataclass(slots=True)
class Ledger:
    """All records of a run. `healed`: when the last fault was over; `end`: when it was looked at for the last time."""

    accepted: list[Accepted] = field(default_factory=list)
    seen: list[Began | Got] = field(default_factory=list)
    """What devices were told, in the order in which each was."""
    stored: list[Stored] = field(default_factory=list)
    tops: list[Top] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    ends: list[Ended] = field(default_factory=list)
    buried: list[Buried] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    drained: list[Drained] = field(default_factory=list)
    queues: list[Queue] = field(default_factory=list)
    """While it ran."""
    left: list[Queue] = field(default_factory=list)
    """At the end."""
    held: list[Held] = field(default_factory=list)
    before: frozenset[str] = frozenset()
    after: frozenset[str] = frozenset()
    """Keys without an end, before and after, when all times were over."""
    live: set[str] = field(default_factory=set)
    """Devices that are connected at the end."""
    notes: list[str] = field(default_factory=list)
    """What did not come to an end."""
    handed: dict[str, int] = field(default_factory=dict)
    """By user: how often the lease under which their jobs are worked was given anew."""
    healed: float = 0.0
    end: float = 0.0

    def got(self) -> Iterator[Got]:
        """Every publication that any device got."""
        return (record for record in self.seen if isinstance(record, Got))
