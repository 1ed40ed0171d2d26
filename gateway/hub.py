"""The hub: who on this node listens to what, and the one cursor that all listeners of a topic share.

Listeners of a topic move in lockstep: each publication is accepted once, encoded once per wire, and joined with its
neighbours before it is written, so a connection costs one write per turn and no state of its own. What comes twice is
dropped, what comes early is held until the hole before it is filled. Behind what goes to an inbox goes a ping, whose
pong is the receipt. Pure: connections are written to, never awaited.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from bus.cursor import NONE_BEFORE, Cursor, Survived, carried
from bus.keys import INBOX
from bus.ranges import NOTHING, Ranges, merge
from gateway.batch import Batch, Publication, in_several, write_all, write_joined, write_with_pings
from gateway.connection import Connection

SLICE: Final = 300
"""Writes between two pauses of a flush: 1–5 ms, so that a broadcast to 10,000 does not block the loop."""
MAX_AHEAD: Final = 1_000
"""Most publications held for one topic while a hole before them is filled."""


class Verdict(Enum):
    """What became of a publication."""

    ACCEPTED = auto()
    DUPLICATE = auto()
    AHEAD = auto()
    """Held; something before it is missing."""
    OTHER_EPOCH = auto()
    """The log was made anew: every listener has to recover."""
    NOBODY = auto()
    """No listener and nobody about to be one: the route to this node is stale."""


class Topic:
    """A topic or inbox that somebody here listens to, or is about to."""

    __slots__ = ("ahead", "epoch", "joining", "members", "name", "offset", "pending", "pushes", "recent", "survived")

    def __init__(self, name: str) -> None:
        self.name = name
        self.epoch: str | None = None
        """None until the first join has come back."""
        self.offset = 0
        """Offset of the newest publication accepted; listeners are there after the next flush."""
        self.members: dict[Connection, None] = {}
        """In the order of their joining, so that a flush walks memory in the order it was laid."""
        self.pending: list[Publication] | None = None
        """Accepted and not yet flushed."""
        self.pushes: list[bytes] | None = None
        """Complete push objects without a place in history (join, leave), to go out behind `pending`."""
        self.joining = 0
        """Joins under way; while there are any, `recent` keeps what is accepted."""
        self.recent: list[Publication] | None = None
        self.ahead: dict[int, bytes] | None = None
        self.survived = NONE_BEFORE
        """What of former epochs counts in this one."""

    @property
    def flushed(self) -> int:
        """Offset at which every listener is now."""
        if self.pending:
            for offset, _ in self.pending:
                if offset:
                    return offset - 1
        return self.offset


def _taken(topic: Topic) -> Batch:
    """What is pending goes out with this flush."""
    batch = Batch(topic.name, topic.epoch, topic.pending or (), topic.pushes or (), list(topic.members))
    topic.pending = topic.pushes = None
    return batch


@dataclass(frozen=True, slots=True)
class Landing:
    """Where a join put the listener; `publications` are to be given to it first."""

    epoch: str
    offset: int
    recovered: bool
    publications: tuple[Publication, ...]


class Behind(Enum):
    """The hub itself has to catch up first: with a client that saw more elsewhere, with more of a log, or with a new
    epoch of it."""

    BEHIND = auto()


class Hub:
    """All topics with listeners on this node."""

    def __init__(self) -> None:
        self.topics: dict[str, Topic] = {}
        self.dirty: list[Topic] = []
        """Topics with something to flush."""
        self.gaps: set[str] = set()
        """Topics that hold publications behind a hole."""
        self.written: dict[str, tuple[str, Ranges]] = {}
        """Inboxes → epoch and offsets that were put on a connection since somebody took this away."""
        self.deliveries = 0
        self._written = 0
        """Writes since the last pause of the flush."""

    # Joining and leaving -----------------------------------------------------------------------------------------

    def shortcut(self, name: str, member: Connection, recover: Cursor | None) -> Landing | None:
        """Join without asking Redis: possible when the topic is known here and the client has missed nothing."""
        topic = self.topics.get(name)
        if topic is None or topic.epoch is None or not topic.members:
            return None
        at = topic.flushed
        if recover is not None and carried(recover, topic.epoch, topic.survived) != Cursor(topic.epoch, at):
            return None
        topic.members[member] = None
        return Landing(topic.epoch, at, recover is not None, ())

    def begin(self, name: str) -> None:
        """A join is under way: from now on nothing that comes for the topic is forgotten until it ends."""
        topic = self.topics.get(name)
        if topic is None:
            topic = self.topics[name] = Topic(name)
        topic.joining += 1
        if topic.recent is None:
            topic.recent = []

    def abandon(self, name: str) -> bool:
        """A join came to nothing. True when the topic has gone with it."""
        topic = self.topics[name]
        self._end_joining(topic)
        return self._drop_if_idle(topic)

    def finish(
        self,
        name: str,
        member: Connection,
        recover: Cursor | None,
        cursor: Cursor,
        missed: Sequence[Publication],
        survived: Survived = NONE_BEFORE,
    ) -> Landing | Behind:
        """End a join: `cursor`, `missed` and `survived` are what Redis said of the topic, read since `recover`.

        The listener lands where all the others are, and gets what lies between its own position and theirs.
        """
        topic = self.topics[name]
        if topic.epoch is None:
            self._settle(topic, cursor, survived)
        at = topic.flushed
        if recover is not None and recover.epoch == cursor.epoch:
            if topic.epoch != cursor.epoch or at < recover.offset <= cursor.offset:
                return Behind.BEHIND
            landing = self._recover(topic, recover.offset, at, missed)
            if landing.publications and name.startswith(INBOX):
                self._note(name, cursor.epoch, landing.publications[0][0], landing.offset)
        else:
            assert topic.epoch is not None
            landing = Landing(topic.epoch, at, False, ())
        topic.members[member] = None
        self._end_joining(topic)
        return landing

    def _recover(self, topic: Topic, since: int, at: int, missed: Sequence[Publication]) -> Landing:
        """All that was missed, or nothing: every offset from `since + 1` to `at`, from history and what came since."""
        assert topic.epoch is not None
        found = {offset: body for offset, body in (*missed, *(topic.recent or ())) if since < offset <= at}
        if since > at or len(found) != at - since:
            return Landing(topic.epoch, at, False, ())
        return Landing(topic.epoch, at, True, tuple(sorted(found.items())))

    def _settle(self, topic: Topic, cursor: Cursor, survived: Survived) -> None:
        """The first join gives the topic its cursor; what arrived before the answer is taken in behind it."""
        topic.epoch, topic.offset, topic.survived = cursor.epoch, cursor.offset, survived
        early, topic.recent = topic.recent or (), []
        for offset, body in early:
            if offset > topic.offset:
                self._place(topic, offset, body)

    def _end_joining(self, topic: Topic) -> None:
        topic.joining -= 1
        if topic.joining == 0:
            topic.recent = None

    def leave(self, name: str, member: Connection) -> bool:
        """A listener goes. True when it was the last one, so that the node need not listen any more."""
        topic = self.topics.get(name)
        if topic is None or member not in topic.members:
            return False
        del topic.members[member]
        return self._drop_if_idle(topic)

    def has(self, name: str, member: Connection) -> bool:
        """Whether a connection listens to a topic."""
        topic = self.topics.get(name)
        return topic is not None and member in topic.members

    def disband(self, name: str) -> tuple[Sequence[Connection], bool]:
        """All listeners go at once: who they were, and whether the node need not listen any more."""
        topic = self.topics[name]
        members, topic.members = tuple(topic.members), {}
        return members, self._drop_if_idle(topic)

    def _drop_if_idle(self, topic: Topic) -> bool:
        if topic.members or topic.joining:
            return False
        del self.topics[topic.name]
        self.gaps.discard(topic.name)
        return True

    # Publications ------------------------------------------------------------------------------------------------

    def publish(self, name: str, epoch: str, offset: int, body: bytes) -> Verdict:
        """A publication came in; it goes out with the next flush if its turn has come."""
        topic = self.topics.get(name)
        if topic is None:
            return Verdict.NOBODY
        if offset == 0:
            self._accept(topic, 0, body)
            return Verdict.ACCEPTED
        if topic.epoch is None:
            assert topic.recent is not None
            topic.recent.append((offset, body))
            return Verdict.ACCEPTED
        if epoch != topic.epoch:
            return Verdict.OTHER_EPOCH
        return self._place(topic, offset, body)

    def push(self, name: str, push: bytes) -> None:
        """A complete push object without a place in history, for all listeners of a topic."""
        if (topic := self.topics.get(name)) is not None:
            self._mark(topic)
            if topic.pushes is None:
                topic.pushes = []
            topic.pushes.append(push)

    def _place(self, topic: Topic, offset: int, body: bytes) -> Verdict:
        if offset <= topic.offset:
            return Verdict.DUPLICATE
        if offset > topic.offset + 1:
            if topic.ahead is None:
                topic.ahead = {}
            if len(topic.ahead) < MAX_AHEAD:
                topic.ahead[offset] = body
            self.gaps.add(topic.name)
            return Verdict.AHEAD
        self._advance(topic, offset, body)
        while topic.ahead and (following := topic.ahead.pop(topic.offset + 1, None)) is not None:
            self._advance(topic, topic.offset + 1, following)
        if topic.ahead is not None:
            self._forget_passed(topic)
        return Verdict.ACCEPTED

    def _forget_passed(self, topic: Topic) -> None:
        topic.ahead = {o: b for o, b in (topic.ahead or {}).items() if o > topic.offset} or None
        if topic.ahead is None:
            self.gaps.discard(topic.name)

    def _advance(self, topic: Topic, offset: int, body: bytes) -> None:
        topic.offset = offset
        if topic.recent is not None:
            topic.recent.append((offset, body))
        self._accept(topic, offset, body)

    def _accept(self, topic: Topic, offset: int, body: bytes) -> None:
        self._mark(topic)
        if topic.pending is None:
            topic.pending = []
        topic.pending.append((offset, body))

    def _mark(self, topic: Topic) -> None:
        if topic.pending is None and topic.pushes is None:
            self.dirty.append(topic)

    # Catching up -------------------------------------------------------------------------------------------------

    def catch_up(
        self, name: str, cursor: Cursor, missed: Sequence[Publication], survived: Survived = NONE_BEFORE
    ) -> bool | Behind:
        """Take in what Redis says lies behind this topic's cursor, and of former epochs.

        `BEHIND` when all of it was of use and there is more: ask again. False when that does not close the hole (it
        was trimmed, or the log is a new one): the topic is then set to `cursor`, and its listeners have to recover
        for themselves.
        """
        topic = self.topics.get(name)
        if topic is None or topic.epoch is None:
            return True
        if topic.epoch == cursor.epoch:
            for offset, body in missed:
                self._place(topic, offset, body)
            if topic.offset >= cursor.offset:
                return True
            if missed and missed[-1][0] == topic.offset:
                return Behind.BEHIND
        topic.epoch, topic.offset, topic.survived = cursor.epoch, cursor.offset, survived
        topic.pending = [p for p in topic.pending or () if p[0] == 0] or None
        topic.recent = [] if topic.joining else None
        topic.ahead = None
        self.gaps.discard(name)
        return False

    def _note(self, name: str, epoch: str, first: int, last: int) -> None:
        known = self.written.get(name)
        before = known[1] if known is not None and known[0] == epoch else NOTHING
        self.written[name] = (epoch, merge(before, ((first, last),)) if before else ((first, last),))

    # Writing -----------------------------------------------------------------------------------------------------

    def flush(self) -> Iterator[None]:
        """Write what is pending, one write per connection and round; pauses after every `SLICE` writes.

        A round works on a snapshot: what is accepted during its pauses goes out in the next round, behind it.
        """
        while self.dirty:
            topics, self.dirty = self.dirty, []
            batches = [batch for batch in map(_taken, topics) if batch.pending or batch.pushes]
            shared = in_several(batches)
            for batch in batches:
                if batch.receipt and batch.members:
                    self._note_written(batch)
                yield from self._give(batch, shared)
            yield from self._give_joined(batches, shared)

    def _note_written(self, batch: Batch) -> None:
        assert batch.epoch is not None  # or there would be no offsets
        self._note(batch.topic, batch.epoch, min([at for at, _ in batch.pending if at]), batch.receipt)

    def _give(self, batch: Batch, shared: set[Connection]) -> Iterator[None]:
        members = [m for m in batch.members if m not in shared] if shared else batch.members
        for start in range(0, len(members), SLICE):
            part = members[start : start + SLICE]
            if batch.receipt:
                write_with_pings(batch, part)
            else:
                write_all(batch, part)
            self.deliveries += len(batch.pending) * len(part)
            if self._pause_due(len(part)):
                yield

    def _give_joined(self, batches: Sequence[Batch], shared: set[Connection]) -> Iterator[None]:
        """Connections with several dirty topics get a join of their own."""
        if not shared:
            return
        own: dict[Connection, list[Batch]] = {}
        for batch in batches:
            for member in batch.members:
                if member in shared:
                    own.setdefault(member, []).append(batch)
        for member, theirs in own.items():
            self.deliveries += sum(len(batch.pending) for batch in theirs)
            write_joined(member, theirs)
            if self._pause_due(1):
                yield

    def _pause_due(self, written: int) -> bool:
        self._written += written
        if self._written < SLICE:
            return False
        self._written = 0
        return True
