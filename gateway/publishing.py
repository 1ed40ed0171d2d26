"""What a client publishes is an event like any other: it is made here, and goes the way of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import orjson

from bus.clock import Clock
from bus.errors import Overloaded
from bus.event import MESSAGE, Event
from gateway.effects import Done, Failed
from gateway.ingest import CLIENT, Accepted, Ingest, Position, TooLarge
from gateway.names import Names
from gateway.wire.codes import Error

SOURCE: Final = "client"


class Publishing:
    """Publishes for clients."""

    def __init__(self, ingest: Ingest, names: Names, clock: Clock) -> None:
        self._ingest, self._names, self._clock = ingest, names, clock

    def publish(self, topic: str, data: bytes, info: bytes, later: Callable[[Done | Failed], None]) -> None:
        """`data` and `info` (of who publishes, or empty) are JSON. `later` is told when Redis has it, or why not."""
        event = Event(
            id=self._names.next(),
            source=SOURCE,
            type=MESSAGE,
            created_at=self._clock.wall(),
            topics=(topic,),
            data=orjson.loads(data),
            extra={"info": orjson.loads(info)} if info else {},
        )
        self._ingest.post(event, CLIENT, lambda answer: later(_said(answer)))


def _said(answer: Accepted) -> Done | Failed:
    match answer:
        case Position():
            return Done()
        case TooLarge():
            return Failed(Error.LIMIT_EXCEEDED)
        case Overloaded():
            return Failed(Error.TOO_MANY_REQUESTS)
        case _:
            return Failed(Error.INTERNAL)
