"""What a plain event stream says, in bytes: publications with the id to resume from behind them, and three events of
our own. Topics go by their names on the wire, so the user's inbox is `inbox`.

| event | data | when |
|---|---|---|
| `message` | `{"topic", "offset"?, "data", "info"?}` | a publication |
| `tocsin.resync` | `{"topic"}` | what was missed in this topic cannot be given: fetch its state anew |
| `tocsin.ready` | `{"topics"}` | all topics are joined; what was missed came before, what is new comes after |
| `tocsin.disconnect` | `{"code", "reason"}` | the end; the client comes back by itself |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from bus.cursor import Cursor
from gateway.wire.codes import CloseInfo
from gateway.wire.eventsource import Position, event

RETRY_MS: Final = 1_000
"""How long a client waits before it comes back; browsers differ, and some wait five seconds unless told."""
RETRY_FINAL_MS: Final = 60_000
FINAL: Final = 3500
"""First of the codes after which a client should not come back."""


class Narrator:
    """The words of one stream. `cursors` are where the client says it stands, for some of its topics or all."""

    __slots__ = ("_asked", "_awaited", "_position", "_topics")

    def __init__(self, topics: Iterable[str], cursors: Mapping[str, Cursor]) -> None:
        self._topics = tuple(topics)
        self._awaited = set(self._topics)
        self._asked = frozenset(cursors)
        self._position = Position()
        # Until a topic is joined, the client stands where it stood: an id in between must not lose that.
        for topic, cursor in cursors.items():
            self._position.move(topic, cursor)

    def joined(self, topic: str, cursor: Cursor, recovered: bool, publications: Iterable[tuple[int, bytes]]) -> bytes:
        """The topic is joined: `publications`, (offset, inside of a JSON object), lead to `cursor`."""
        self._position.move(topic, cursor)
        said = [self.publication(topic, offset, content) for offset, content in publications]
        self._position.advance(topic, cursor.offset)
        if topic in self._asked and not recovered:
            said.append(self._event("tocsin.resync", {"topic": topic}))
        if topic in self._awaited:
            self._awaited.remove(topic)
            if not self._awaited:
                said.append(self._event("tocsin.ready", {"topics": self._topics}, RETRY_MS))
        return b"".join(said)

    def publication(self, topic: str, offset: int, content: bytes) -> bytes:
        """One publication; `content` is the inside of a JSON object, offset 0 is none. One that was withdrawn (no
        content) is not told, but the next id is behind it."""
        if offset:
            self._position.advance(topic, offset)
        if not content:
            return b""
        place = b',"offset":%d' % offset if offset else b""
        return event(b'{"topic":%b%b,%b}' % (orjson.dumps(topic), place, content), id=str(self._position))

    def _event(self, name: str, data: Mapping[str, object], retry: int | None = None) -> bytes:
        return event(orjson.dumps(data), name=name, id=str(self._position), retry=retry)


def farewell(why: CloseInfo) -> bytes:
    """The last event of a stream. An EventSource comes back whatever it says; where that is of no use, it is told to
    take its time."""
    data = orjson.dumps({"code": why.code, "reason": why.reason})
    return event(data, name="tocsin.disconnect", retry=RETRY_FINAL_MS if why.code >= FINAL else None)
