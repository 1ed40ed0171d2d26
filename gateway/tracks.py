"""What is known of an event: of the whole, and of one person. Values from what Redis holds, and their JSON. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import orjson

from bus.codec import DIRECT, decode_json, iso
from bus.event import Step
from bus.trail import Kind, Trace

STATES: Final = (
    *("queued", "sent", "delivered", "failed", "gone"),
    *("skipped", "deferred", "cancelled", "expired", "digested"),
)
"""What a delivery by a channel can have come to; counts have `<channel>:<state>` for each."""
RECEIPTS: Final = ("written", "acked", "read")


class State(StrEnum):
    """Where an event is, in the words of the API."""

    ACCEPTED = "accepted"
    """In an ingest stream; no worker has come to it."""
    SCHEDULED = "scheduled"
    """Waits for its time."""
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    """Its time was over before a worker came to it."""
    BURIED = "buried"
    """Among the dead letters."""


@dataclass(frozen=True, slots=True)
class Whole:
    """An event and all whom it was given to. Times are Unix seconds."""

    id: str
    source: str
    recipients: int = 0
    topics: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    withdrawn: bool = False
    at: float | None = None
    """When it is due, while it waits for that."""
    waits: bool = False
    """It stands in an ingest stream and no worker has come to it."""
    buried: tuple[str, ...] = ()
    """Reasons of its dead letters."""
    lapsed: bool = False
    """Its time was over before a worker came to it."""

    @property
    def known(self) -> bool:
        """Whether anything at all is known of it."""
        return self.withdrawn or self.waits or self.given or self.at is not None or self.lapsed or bool(self.buried)

    @property
    def given(self) -> bool:
        """Whether somebody has it, be it a topic."""
        return self.recipients + self.topics > 0

    @property
    def state(self) -> State:
        """Where it is; of what is true at once, what its producer would want to hear first."""
        if self.withdrawn:
            return State.WITHDRAWN
        if self.given:
            return State.PUBLISHED
        if self.at is not None:
            return State.SCHEDULED
        if self.buried:
            return State.BURIED
        return State.EXPIRED if self.lapsed else State.ACCEPTED

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        channels: dict[str, dict[str, int]] = {}
        for name, count in sorted(self.counts.items()):
            channel, colon, state = name.partition(":")
            if colon and state in STATES:
                channels.setdefault(channel, {})[state] = count
        out: dict[str, Any] = {"id": self.id, "source": self.source, "state": self.state.value}
        if self.at is not None:
            out["at"] = iso(self.at)
        out |= {"recipients": self.recipients, "topics": self.topics}
        out |= {name: self.counts.get(name, 0) for name in RECEIPTS}
        out["channels"] = channels
        return out | ({"buried": list(self.buried)} if self.buried else {})


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that is still to come: by which channel, what makes it unnecessary, and when it is due (Unix seconds)."""

    channel: str
    unless: str | None
    due: float


@dataclass(frozen=True, slots=True)
class Person:
    """What became of an event for one person. Times are Unix seconds."""

    user: str
    given: bool = False
    """It is for them, as far as anybody has worked it."""
    offset: int = 0
    """In their inbox; 0: it never was in it."""
    kept: bool = False
    """It is still in their inbox."""
    acked: bool = False
    read: bool = False
    archived: bool = False
    connected: bool = False
    """A device of theirs is connected now."""
    ladder: tuple[Step, ...] = ()
    traces: tuple[Trace, ...] = ()
    """Oldest first."""
    waiting: tuple[Waiting, ...] = ()
    over: float | None = None
    """When nobody wants it any more."""

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        out: dict[str, Any] = {"user": self.user, "in_audience": self.given, "offset": self.offset}
        out |= {"acked": self.acked, "read": self.read, "archived": self.archived}
        out["trail"] = [_trace(trace) for trace in self.traces]
        out["waiting"] = [_waiting(step) for step in self.waiting]
        return out


def _trace(trace: Trace) -> dict[str, Any]:
    out: dict[str, Any] = {"at": iso(trace.at), "kind": trace.kind.value}
    extra = {"channel": trace.channel, "reason": trace.reason, "attempt": trace.attempt}
    return out | {name: value for name, value in extra.items() if value}


def _waiting(step: Waiting) -> dict[str, Any]:
    out: dict[str, Any] = {"channel": step.channel, "due": iso(step.due)}
    return out if step.unless is None else out | {"unless": step.unless}


# From Redis ------------------------------------------------------------------------------------------------------


def total(counts: Iterable[Sequence[bytes]]) -> Counter[str]:
    """The sum of the `counts` of all partitions, each as HGETALL gives it."""
    found: Counter[str] = Counter()
    for flat in counts:
        for name, value in zip(flat[::2], flat[1::2], strict=True):
            found[name.decode()] += int(value)
    return found


def ladder_of(stored: bytes | None) -> tuple[Step, ...]:
    """The ladder that a body holds; empty where it holds none that this release understands."""
    try:
        return tuple(Step(raw["via"], raw.get("after", 0), raw.get("unless")) for raw in orjson.loads(stored or b"[]"))
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        return ()


def is_of(event: Whole, flat: Sequence[bytes]) -> bool:
    """Whether an entry of an ingest stream, or a dead letter, holds this event (name, value, …)."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    raw = decode_json(fields.get(b"e", b""))
    return isinstance(raw, dict) and raw.get("id") == event.id and raw.get("source", DIRECT) == event.source


def reason_of(flat: Sequence[bytes]) -> str:
    """Why a dead letter was buried."""
    return dict(zip(flat[::2], flat[1::2], strict=True)).get(b"reason", b"").decode(errors="replace")


def taken_back(traces: Sequence[Trace]) -> bool:
    """Whether the person was told of a withdrawal."""
    return any(trace.kind is Kind.WITHDRAWN for trace in traces)


def condition_in_digest(ladder: Sequence[Step], via: str) -> str:
    """What takes an event out of a digest: what its step says, and reading where that says nothing."""
    return next((step.unless for step in ladder if step.via == via and step.unless), "read")


def was_read(traces: Sequence[Trace]) -> bool:
    """Whether, by the trail alone, the person has read it and not taken that back."""
    marks = [trace.kind for trace in traces if trace.kind in (Kind.READ, Kind.UNREAD)]
    return bool(marks) and marks[-1] is Kind.READ


def gathered(traces: Sequence[Trace]) -> list[str]:
    """Channels whose digest holds it, by the trail: the digest may have been put off since."""
    last = {trace.channel: trace.kind for trace in traces if trace.kind is not Kind.DEFERRED}
    return [channel for channel, kind in last.items() if kind is Kind.DIGESTED]
