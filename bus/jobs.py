"""The jobs of one channel in one partition, under a lease of their own: many at once, each settled by itself.

What waits for another attempt waits apart, in `later`, so it holds nobody up. What a worker had when it ended is taken
first by the next one; a job over which several workers ended is worked alone, so that it takes no other with it.

Where more wait than there is room for, whose they are is looked at first, and they are taken by source, past all others
that wait: see `bus.sight`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.clock import Clock
from bus.errors import BusError, Refused
from bus.event import source_in
from bus.keys import Keys, escape
from bus.lease import Fenced, Lease
from bus.outcome import Done, Gone, Outcome, Rejected, Retry
from bus.pipe import Arg, Call, Pipe, Reply
from bus.policy import Ack, Bury, Defer, Pause, RetryPolicy, Settlement
from bus.queue import Batch, Entry, read_entry
from bus.settlement import Acked, Buried, Held, Settled
from bus.sight import OTHERS, Look, Sight

GROUP: Final = "deliver"
WARY: Final = 2
"""After so many deaths over one job it is worked alone."""
MOST_PENDING: Final = 100_000
MOST_DIGITS: Final = 15
"""Of a count, or of a Unix time in milliseconds."""
LOOKED_AT: Final = 500
"""Jobs looked at in one step: a millisecond or two of Redis's time."""
STEPS: Final = 10
"""Most steps at a time."""
LONGEST_WAIT = 10.0
"""Seconds: Redis's clock may be set while we wait for what is due, so it is asked this often."""
LOOK_BACK: Final = 10.0
"""Seconds after which what was given to us is compared with what we have: a failover that takes a settlement with it
leaves a job that everybody thinks is done."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written about a target, unless that was changed since it was read."""

    field: str
    value: bytes
    known_by: str
    """The field that shows whether it was changed: it must still be `known`."""
    known: bytes
    device: bool
    """Whether it is one of the person's devices, else something of their profile."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a settlement tells besides: the person's trail, the counts of the events, the target."""

    user: str | None = None
    """None: nothing is told, for the entry is no job."""
    refs: tuple[str, ...] = ()
    kind: str = ""
    """For the trail; empty tells it nothing."""
    state: str = ""
    """To count; empty counts nothing."""
    reason: str = ""
    mark: Mark | None = None


Scribe = Callable[[Entry, Outcome, Settlement], Note]


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A job that was taken and not settled, and how often it was taken."""

    id: str
    deaths: int


@dataclass(frozen=True, slots=True)
class _Decided:
    """What is done about a job."""

    settlement: Settlement
    attempts: int
    call: Call


class Jobs:
    """`batch`: most jobs taken at a time; `dead`: most dead letters; `ttl`: of trail and counts, in seconds."""

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        lease: Lease,
        channel: str,
        scribe: Scribe,
        clock: Clock,
        *,
        batch: int,
        dead: int,
        ttl: int,
    ) -> None:
        self._pipe, self._names, self._lease, self._channel = pipe, keys, lease, channel
        self._scribe, self._clock = scribe, clock
        self.partition = p = lease.partition
        self.batch = batch
        self._dead, self._ttl = dead, ttl
        self._keys = (keys.jobs_lease(p, channel), keys.jobs(p, channel), keys.later(p, channel))
        self._dead_key = keys.dead(p)
        self._held: dict[str, _Decided | None] = {}
        self._orphans: deque[_Orphan] | None = None
        self._sight: Sight | None = None
        self._look_back = 0.0
        self._taken_to = ""
        """The id up to which all were taken, some past others, until Redis was told."""

    # Taking ------------------------------------------------------------------------------------------------------

    @property
    def wary(self) -> bool:
        """Whether the next job was there when workers ended, more than once."""
        return self._orphans is not None and len(self._orphans) > 0 and self._orphans[0].deaths == WARY

    async def take(self, room: int) -> Batch:
        """The next jobs: first what an owner before left behind. Raises `Fenced`, `BusError`.

        None, though `pending`: ask again.
        """
        self._look_back_at_times()
        try:
            if self._orphans is None:
                self._orphans = await self._left_behind()
                if self._orphans:
                    # Whoever asked did not know yet how many it may take at once: see `wary`.
                    return Batch(pending=True)
            return await (self._claim(self._orphans, room) if self._orphans else self._next(room))
        except BusError:
            # Redis may have given us jobs in a reply that was lost: look for them.
            self._orphans = None
            raise

    def _look_back_at_times(self) -> None:
        if not self._orphans and self._clock.monotonic() >= self._look_back:
            self._orphans = None

    async def _left_behind(self) -> deque[_Orphan]:
        self._look_back = self._clock.monotonic() + LOOK_BACK
        try:
            found = await self._pipe.ask("XPENDING", self._keys[1], GROUP, "-", "+", MOST_PENDING)
        except Refused as error:
            if error.code == "NOGROUP":
                return deque()
            raise
        orphans = [_Orphan(entry_id.decode(), deaths) for entry_id, _, _, deaths in found]
        orphans = [orphan for orphan in orphans if orphan.id not in self._held]
        return deque(sorted(orphans, key=lambda orphan: orphan.deaths == WARY))

    async def _claim(self, orphans: deque[_Orphan], room: int) -> Batch:
        alike = [o for o in orphans if (o.deaths == WARY) == self.wary][:room]
        args = (*self._fence, *(orphan.id for orphan in alike))
        found = await self._run(("claim_jobs", self._keys[:2], args))
        for _ in alike:
            orphans.popleft()
        deaths = {orphan.id: orphan.deaths for orphan in alike}
        return self._batch([read_entry(raw, deaths[raw[0].decode()]) for raw in found], pending=True)

    async def _next(self, room: int) -> Batch:
        left, newest, *found = await self._run(("take_jobs", self._keys, (*self._fence, room, self._taken_to)))
        self._taken_to = ""
        if len(found) >= room:
            self._sight = Sight(found[-1][0].decode())
        wait = min(LONGEST_WAIT, left / 1000) if left >= 0 else LONGEST_WAIT
        # What was taken past others is read once more when its turn comes.
        entries = [read_entry(raw) for raw in found if raw[0].decode() not in self._held]
        return self._batch(entries, newest=newest.decode(), wait=wait)

    # Taking by source --------------------------------------------------------------------------------------------

    @property
    def crowded(self) -> bool:
        """Whether more wait than there was room for."""
        return self._sight is not None

    @staticmethod
    def source(entry: Entry) -> str:
        """Whose job an entry is."""
        return source_in(entry.fields.get(b"e", b"").decode(errors="replace")) or OTHERS

    async def look(self) -> Mapping[str, int]:
        """How many jobs are known to wait, by source; nothing where they are to be taken as they come. Raises `Fenced`,
        `BusError`."""
        self._look_back_at_times()
        if self._orphans is None or self._orphans:
            return {}
        if self._sight is None:
            self._sight = Sight(self._taken_to)
        for _ in range(STEPS):
            await self._look(self._sight, self._sight.ahead())
            if self._sight.ended:
                break
        if self._sight.empty:
            self._taken_to, self._sight = self._sight.at, None
            return {}
        return self._sight.wants

    async def pick(self, source: str, room: int) -> Batch:
        """At most `room` of the next jobs of a source. Raises `Fenced`, `BusError`."""
        sight = self._sight
        if sight is None:
            return Batch(pending=True)
        try:
            for _ in range(STEPS):  # where that does not find any, its next turn goes on from there
                if (look := sight.lacks(source)) is None:
                    break
                await self._look(sight, look)
            ids = sight.take(source, room)
            found = await self._run(("pick_jobs", self._keys[:2], (*self._fence, *ids))) if ids else ()
        except BusError:
            # As above; and what was not taken after all has to be seen again.
            self._orphans = self._sight = None
            raise
        return self._batch([read_entry(raw) for raw in found], pending=True)

    async def _look(self, sight: Sight, look: Look) -> None:
        args = (*self._fence[:3], look.after, LOOKED_AT, self.batch)
        upto, ended, *found = await self._run(("look_jobs", self._keys, args))
        seen = [(job.decode(), source_in(ref.decode(errors="replace")) or OTHERS) for job, ref in found]
        sight.saw(look, [one for one in seen if one[0] not in self._held], upto.decode(), bool(ended))

    def _batch(
        self, entries: Sequence[Entry], pending: bool = False, newest: str = "0-0", wait: float | None = None
    ) -> Batch:
        self._held |= dict.fromkeys(entry.id for entry in entries)
        return Batch(tuple(entries), pending=pending or wait == 0, newest=newest, wait=wait)

    @property
    def _fence(self) -> tuple[Arg, ...]:
        return self._lease.owner, self._lease.fence, GROUP, f"p{self.partition}"

    async def _run(self, call: Call) -> Reply:
        try:
            return await self._pipe.script(*call)
        except Refused as error:
            raise (Fenced(f"partition {self.partition}") if error.code == "FENCED" else error) from None

    # Settling ----------------------------------------------------------------------------------------------------

    async def settle(self, batch: Batch, outcomes: Sequence[Outcome], policy: RetryPolicy, chance: float) -> Settled:
        """Settle one job: finish it, put it off or bury it. Raises `Fenced`, `BusError`; a repeat does no harm."""
        (entry,), (outcome,) = batch.entries, outcomes
        # Decided once: a repeat after a lost reply must not decide otherwise.
        if (decided := self._held.get(entry.id)) is None:
            decided = self._held[entry.id] = self._decide(entry, outcome, policy, chance)
        settlement, attempts = decided.settlement, decided.attempts
        await self._run(decided.call)
        self._held.pop(entry.id, None)
        match settlement:
            case Ack():
                return Settled((Acked((entry.id,)),), None)
            case Bury(reason):
                return Settled((Buried(entry.id, reason, attempts),), None)
            case Defer() | Pause():
                return Settled((), Held(entry.id, settlement))

    def _decide(self, entry: Entry, outcome: Outcome, policy: RetryPolicy, chance: float) -> _Decided:
        before = _number(entry.fields, b"n")
        settlement = policy.settle(outcome, before + 1, chance, self._left(entry))
        attempts = before + isinstance(outcome, Done | Retry | Gone | Rejected)
        note = self._scribe(entry, outcome, settlement)
        return _Decided(settlement, attempts, self._call(entry, settlement, attempts, note))

    def _left(self, entry: Entry) -> float:
        """Seconds until nobody wants it any more."""
        expires = _number(entry.fields, b"x2")
        return expires / 1000 - self._clock.wall() if expires else math.inf

    def _call(self, entry: Entry, settlement: Settlement, attempts: int, note: Note) -> Call:
        what, delay, reason = _words(settlement)
        about = note.refs if note.user is not None else ()
        counts = (self._names.counts(self.partition, ref) for ref in about)
        told = (note.kind if about else "", note.state if about else "", self._ttl)
        mark = note.mark
        args: tuple[Arg, ...] = (self._lease.owner, self._lease.fence, GROUP, entry.id, what, reason or note.reason)
        args = (*args, attempts, delay, self._dead, self._channel, *told)
        args = (*args, *(("", b"", "", b"") if mark is None else (mark.field, mark.value, mark.known_by, mark.known)))
        keys = (*self._keys, self._dead_key, *self._of(note), *counts)
        return "settle_job", keys, (*args, *map(escape, about))

    def _of(self, note: Note) -> tuple[str, str]:
        """A person's trail, and devices or profile; any key of the partition where nothing will be told."""
        if note.user is None:
            return self._dead_key, self._dead_key
        devices = note.mark is not None and note.mark.device
        where = self._names.devices(note.user) if devices else self._names.profile(note.user)
        return self._names.trail(note.user), where


def _words(settlement: Settlement) -> tuple[str, int, str]:
    """For the script: what to do, after how many milliseconds, and why."""
    match settlement:
        case Ack():
            return "ack", 0, ""
        case Bury(reason):
            return "bury", 0, reason
        case Defer(delay, _):
            return "defer", round(delay * 1000), ""
        case Pause(delay, reason):
            return "defer", round(delay * 1000), reason


def _number(fields: Mapping[bytes, bytes], name: bytes) -> int:
    """0 where there is none, nor one that is plausible: also what is no job must be settled."""
    value = fields.get(name, b"0")
    return int(value) if value.isdigit() and len(value) <= MOST_DIGITS else 0
