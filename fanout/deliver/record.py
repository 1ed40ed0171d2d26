"""What a person's trail and an event's counts are told of a settled job. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

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
from bus.policy import Ack, Bury, Settlement
from bus.trail import Kind


@dataclass(frozen=True, slots=True)
class Record:
    """`kind` None tells the trail nothing; `counted` says whether the state is counted too."""

    kind: Kind | None
    reason: str = ""
    counted: bool = True

    @property
    def state(self) -> str:
        """What is counted; empty for nothing."""
        return self.kind.value if self.kind is not None and self.counted else ""


_KINDS: Final[Mapping[type[Outcome], Kind]] = {
    Done: Kind.SENT,
    Gone: Kind.GONE,
    Expired: Kind.EXPIRED,
    Cancelled: Kind.CANCELLED,
    Skipped: Kind.SKIPPED,
    Deferred: Kind.DEFERRED,
    Rejected: Kind.FAILED,
    Retry: Kind.RETRY,
    Throttled: Kind.RETRY,
    Unavailable: Kind.RETRY,
    Misconfigured: Kind.RETRY,
}
_NOBODYS_FAULT: Final = (Throttled, Unavailable, Misconfigured)


def record(outcome: Outcome, settlement: Settlement, provider: str, waited_for: str) -> Record:
    """What to tell. `provider`: who was asked; `waited_for`: why the job waited before, for nothing is told twice."""
    if isinstance(settlement, Ack) and settlement.lapsed:
        return Record(Kind.EXPIRED, f"its time is over; last: {settlement.lapsed}")
    if isinstance(settlement, Bury):
        return Record(Kind.FAILED, settlement.reason)
    kind = _KINDS[type(outcome)]
    reason = provider if isinstance(outcome, Done) else getattr(outcome, "reason", "")
    if isinstance(outcome, _NOBODYS_FAULT) and reason == waited_for:
        # The same wait over and over, an hour long perhaps, is told once.
        return Record(None, reason)
    return Record(kind, reason, counted=kind is not Kind.RETRY)
