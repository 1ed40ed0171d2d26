"""Receipts on their way to Redis: gathered per person for a tenth of a second, then noted many at a time.

A receipt that is late or lost errs towards sending: a step of the ladder is taken that was not needed. So nothing waits
for one; while Redis is away they are kept, up to a bound, and said again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.errors import BusError, Refused
from bus.keys import Keys, inbox_of
from bus.pipe import Arg, Pipe, Reply
from bus.ranges import MOST, NOTHING, Ranges, merge, pieces, size, text
from bus.trail import SIZE as TRAIL
from gateway.hub import Hub
from gateway.stats import Stats

WAIT: Final = 0.1
"""Seconds for which receipts are gathered."""
AGAIN: Final = 1.0
"""Seconds until what Redis did not take is said again."""
MAX_WAITING: Final = 100_000
"""Most people whose receipts wait."""
USERS: Final = 50
"""Most people in one call, and"""
OFFSETS: Final = 100
"""most offsets, each of which costs Redis some ten microseconds where it is new."""

Asked = tuple[str, "Receipt"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one person's devices were written, and have acknowledged, in one epoch of the inbox."""

    epoch: str
    written: Ranges = NOTHING
    acked: Ranges = NOTHING

    def plus(self, other: Receipt) -> Receipt:
        """Both; of two epochs the later one's."""
        if self.epoch != other.epoch:
            return other
        return Receipt(self.epoch, merge(self.written, other.written), merge(self.acked, other.acked))

    def pieces(self) -> Iterator[Receipt]:
        """The same in parts that are not too long for one call."""
        if self.size <= OFFSETS:
            yield self
            return
        for piece in pieces(self.written, OFFSETS):
            yield Receipt(self.epoch, written=piece)
        for piece in pieces(self.acked, OFFSETS):
            yield Receipt(self.epoch, acked=piece)

    @property
    def size(self) -> int:
        """How many offsets the script may have to look at."""
        return size(self.written) + size(self.acked)


class Receipts:
    """Those of one node."""

    def __init__(self, pipe: Pipe, keys: Keys, hub: Hub, loop: asyncio.AbstractEventLoop, stats: Stats) -> None:
        self._pipe, self._keys, self._hub, self._loop, self._stats = pipe, keys, hub, loop, stats
        self._waiting: dict[str, Receipt] = {}
        """By user."""
        self._timer: asyncio.TimerHandle | None = None

    def acked(self, user: str, first: int, to: int) -> None:
        """A connection of the user here has these offsets."""
        topic = self._hub.topics.get(inbox_of(user))
        if topic is not None and topic.epoch is not None:
            self._wait(user, Receipt(topic.epoch, acked=((first, to),)))
            self.wake()

    def wake(self) -> None:
        """Something may be waiting, here or in the hub."""
        if self._timer is None and (self._waiting or self._hub.written):
            self._timer = self._loop.call_later(WAIT, self.send)

    def send(self) -> None:
        """Say all that waits."""
        self._pause()
        written, self._hub.written = self._hub.written, {}
        for topic, (epoch, ranges) in written.items():
            self._wait(topic[1:], Receipt(epoch, written=ranges))
        waiting, self._waiting = self._waiting, {}
        for partition, people in self._by_partition(waiting).items():
            for part in _parts(people):
                self._say(partition, part)

    async def now(self, user: str, epoch: str, acked: Ranges) -> int | str:
        """Note what a person acknowledged, and wait until it is noted: how many offsets were new, or why nothing was
        noted ("epoch", "top"). Raises `BusError`."""
        count = 0
        # The highest first: when that is above the top, nothing of it is noted.
        for piece in reversed(tuple(pieces(acked, OFFSETS))):
            names, args = self._call(self._keys.partition(user), [(user, Receipt(epoch, acked=piece))])
            [[new, why]] = await self._pipe.script("receipts", names, args)
            if new < 0:
                return str(why.decode())
            count += why
        return count

    # Waiting ---------------------------------------------------------------------------------------------------------

    def _wait(self, user: str, receipt: Receipt) -> None:
        known = self._waiting.get(user)
        if known is None and len(self._waiting) >= MAX_WAITING:
            self._stats.receipts_dropped += 1
            return
        self._waiting[user] = receipt if known is None else known.plus(receipt)

    def _pause(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Saying ----------------------------------------------------------------------------------------------------------

    def _by_partition(self, waiting: Mapping[str, Receipt]) -> dict[int, list[Asked]]:
        found: dict[int, list[Asked]] = {}
        for asked in waiting.items():
            found.setdefault(self._keys.partition(asked[0]), []).append(asked)
        return found

    def _call(self, partition: int, people: Sequence[Asked]) -> tuple[list[str], list[Arg]]:
        names: list[str] = []
        args: list[Arg] = [self._keys.counts_prefix(partition), self._keys.body_prefix(partition), TRAIL, MOST]
        for user, receipt in people:
            inbox = inbox_of(user)
            names += (self._keys.meta(inbox), self._keys.log(inbox), self._keys.trail(user))
            args += (receipt.epoch, text(receipt.written), text(receipt.acked))
        return names, args

    def _say(self, partition: int, people: Sequence[Asked]) -> None:
        def answered(reply: Reply) -> None:
            if not isinstance(reply, BusError):
                self._noted(reply)
            elif isinstance(reply, Refused) and not reply.passing:
                self._stats.receipts_refused += len(people)
            else:
                self._stats.bus_failures += 1
                self._keep(people)

        self._pipe.post_script("receipts", *self._call(partition, people), answered)

    def _noted(self, reply: Reply) -> None:
        for new, why in reply:
            if new < 0:
                self._stats.receipts_refused += 1
            else:
                self._stats.receipts += why

    def _keep(self, people: Sequence[Asked]) -> None:
        """Redis did not take them: say them again, together with what has come since."""
        for user, receipt in people:
            newer = self._waiting.get(user)
            if newer is not None:
                self._waiting[user] = receipt.plus(newer)
            else:
                self._wait(user, receipt)
        if self._timer is None:
            self._timer = self._loop.call_later(AGAIN, self.send)


def _parts(people: Iterable[Asked]) -> Iterator[list[Asked]]:
    """Calls of about the same length. One person's long receipt is cut: what was written comes first."""
    part: list[Asked] = []
    offsets = 0
    for user, receipt in people:
        for cut in receipt.pieces():
            if part and (len(part) >= USERS or offsets + cut.size > OFFSETS):
                yield part
                part, offsets = [], 0
            part.append((user, cut))
            offsets += cut.size
    if part:
        yield part
