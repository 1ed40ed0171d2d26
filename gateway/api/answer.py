"""The answer to a request with events: one result per event, and a status that says how many there are of which kind.

All accepted is 202, some is 207, none is the problem that says why. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import orjson

from bus.errors import BusError, Overloaded, Unconfirmed
from bus.event import MAX_EVENT_BYTES, Event
from gateway.api.problem import MEDIA_TYPE, RETRY_AFTER_OVERLOAD, Kind, Refusal, unavailable
from gateway.api.submission import Submission
from gateway.ingest import Accepted, Position, TooLarge

JSON = "application/json"
AWAY = (
    "Redis did not confirm it. Repeat the request; with an Idempotency-Key, or with ids of your own, nothing doubles."
)

CROWDED = "more waits than can be taken in now; come back"
UNCONFIRMED = (
    "It is stored, but not confirmed by enough replicas, so that a failover may lose it. "
    "It may be sent again under the same id, or with the same Idempotency-Key: nothing doubles."
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back, in a shape that can be kept for a repeat."""

    status: int
    media: str
    body: bytes

    def pack(self) -> bytes:
        """As bytes."""
        return b"%d %b\n%b" % (self.status, self.media.encode(), self.body)

    @classmethod
    def unpack(cls, packed: bytes) -> Answer:
        """What `pack` packed."""
        head, _, body = packed.partition(b"\n")
        status, _, media = head.decode().partition(" ")
        return cls(int(status), media, body)

    @classmethod
    def of(cls, refusal: Refusal) -> Answer:
        """A problem."""
        return cls(refusal.kind.value.status, MEDIA_TYPE, orjson.dumps(refusal.body()))


Result = dict[str, Any] | Refusal
"""Where an event went, or why it went nowhere."""


def results(submission: Submission, outcomes: Iterable[Accepted]) -> list[Result]:
    """A result per event of the request; `outcomes` are those of its valid events, in order."""
    following: Iterator[Accepted] = iter(outcomes)
    return [item if isinstance(item, Refusal) else _result(item, next(following)) for item in submission.items]


def answer(found: Sequence[Result], single: bool) -> Answer:
    """The answer that carries these results."""
    refused = [result for result in found if isinstance(result, Refusal)]
    if single:
        return Answer.of(refused[0]) if refused else Answer(202, JSON, orjson.dumps(found[0]))
    shown = [{"problem": result.body()} if isinstance(result, Refusal) else result for result in found]
    if len(refused) < len(found):
        return Answer(207 if refused else 202, JSON, orjson.dumps({"events": shown}))
    kinds = {refusal.kind for refusal in refused}
    kind = Kind.UNAVAILABLE if Kind.UNAVAILABLE in kinds else Kind.INVALID_EVENT
    return Answer.of(Refusal(kind, "no event was accepted", members={"events": shown}))


def _result(event: Event, outcome: Accepted) -> Result:
    match outcome:
        case Position(partition, position):
            return {"id": event.id, "partition": partition, "position": position}
        case TooLarge():
            return Refusal(Kind.TOO_LARGE, f"an event may have at most {MAX_EVENT_BYTES} bytes as JSON")
        case Unconfirmed():
            return unavailable(UNCONFIRMED)
        case Overloaded():
            return unavailable(CROWDED, RETRY_AFTER_OVERLOAD)
        case BusError():
            return unavailable(AWAY)
        case _:
            assert_never(outcome)
