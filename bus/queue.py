"""A partition's stream under a lease, worked in order: take entries, and settle them. Everything here is fenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bus.errors import BusError, Refused
from bus.keys import Keys
from bus.lease import Fenced, Lease
from bus.letters import LETTER
from bus.outcome import Outcome
from bus.pipe import Arg, Call, Pipe, Reply
from bus.policy import Defer, RetryPolicy
from bus.settlement import Acked, Buried, Settled, Step, settle

GROUP: Final = "fanout"
KEPT_FIELDS: Final = 100
KEPT_BYTES: Final = 131_072
"""What is kept of an entry that is buried: nothing that could be replayed is larger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a stream; one that was trimmed while it was pending has no fields."""

    id: str
    fields: Mapping[bytes, bytes]
    deaths: int = 0
    """How many workers ended while they had it. In an ordered queue nobody counts them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries in the order of the stream."""

    entries: tuple[Entry, ...] = ()
    attempts: int = 0
    """How often the first one has failed."""
    pending: bool = False
    """They had been taken before, so new ones may wait behind them."""
    newest: str = "0-0"
    """Id of the newest entry known: to wait for more is to wait for what comes after it."""
    wait: float | None = None
    """Seconds until there will be more of itself; None: only what is added."""


class Line(Protocol):
    """What the one loop works: a `Queue`, in order, or `bus.jobs.Jobs`, many at once."""

    partition: int
    batch: int
    """Most entries at a time."""

    @property
    def wary(self) -> bool:
        """Whether what comes next may end its worker, so that nothing else should be under way beside it."""

    async def take(self, room: int) -> Batch:
        """At most `room` of the next entries. Raises `Fenced`, `BusError`."""

    async def settle(self, batch: Batch, outcomes: Sequence[Outcome], policy: RetryPolicy, chance: float) -> Settled:
        """Do what the policy makes of the outcomes. Raises `Fenced`, `BusError`; it may be called again then.

        Fewer outcomes than entries: the rest was not tried. `chance`: a random number from 0 to 1.
        """


class Queue:
    """The ingest stream of one partition, or another stream that is worked under the same lease.

    `batch`: most entries at a time; `keep`: seconds for which acknowledged entries stay; `dead`: most dead letters;
    `stream` and `head`: the keys of the other stream and of the hash that says how far it is worked.
    """

    def __init__(
        self,
        pipe: Pipe,
        keys: Keys,
        lease: Lease,
        *,
        batch: int,
        keep: float,
        dead: int,
        stream: str | None = None,
        head: str | None = None,
    ) -> None:
        self._pipe = pipe
        self._lease = lease
        self.partition = p = lease.partition
        self.batch = batch
        self._keep, self._dead = int(keep * 1000), dead
        self._keys = (keys.lease(p), stream or keys.events(p), head or keys.head(p))
        self._dead_key = keys.dead(p)

    @property
    def wary(self) -> bool:
        """Never: what fails here is the head, and alone already."""
        return False

    async def take(self, room: int) -> Batch:
        """The next entries: the pending ones first. Raises `Fenced`, `BusError`."""
        reply = await self._run([("take", self._keys, (*self._fence, GROUP, f"p{self.partition}", room))])
        attempts, pending, newest, *entries = reply[0]
        return Batch(tuple(read_entry(raw) for raw in entries), attempts, bool(pending), newest.decode())

    async def settle(self, batch: Batch, outcomes: Sequence[Outcome], policy: RetryPolicy, chance: float) -> Settled:
        """Acknowledge and bury in order, up to the first that is not finished. Raises `Fenced`, `BusError`."""
        ids = [entry.id for entry in batch.entries]
        settled = settle(ids, outcomes, batch.attempts, policy, chance)
        if settled.steps:
            fields = {entry.id: entry.fields for entry in batch.entries}
            await self._run([self._call(step, fields) for step in settled.steps])
        if settled.held is not None and isinstance(how := settled.held.settlement, Defer) and how.counted:
            lease, _, head = self._keys
            await self._run([("attempt", (lease, head), (*self._fence, settled.held.id))])
        return settled

    @property
    def _fence(self) -> tuple[str, int]:
        return self._lease.owner, self._lease.fence

    def _call(self, step: Step, fields: Mapping[str, Mapping[bytes, bytes]]) -> Call:
        match step:
            case Acked(ids):
                return "ack", self._keys, (*self._fence, GROUP, self._keep, *ids)
            case Buried(entry_id, reason, attempts):
                own = kept(fields[entry_id])
                args: tuple[Arg, ...] = (*self._fence, GROUP, entry_id, reason, attempts, self._dead, *own)
                return "bury", (*self._keys, self._dead_key), args

    async def _run(self, calls: Sequence[Call]) -> list[Reply]:
        return fenced(await self._pipe.scripts(calls), self.partition)


def fenced(replies: list[Reply], partition: int) -> list[Reply]:
    """The replies of fenced scripts, when all are fine. Raises `Fenced`, `BusError`."""
    for reply in replies:
        if isinstance(reply, Refused) and reply.code == "FENCED":
            raise Fenced(f"partition {partition}")
        if isinstance(reply, BusError):
            raise reply
    return replies


def kept(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """What of an entry goes into its dead letter: field, value, …; oversized values are emptied, surplus fields go."""
    names = (name for name in fields if name not in LETTER)
    first = sorted(names, key=lambda name: name not in (b"v", b"p", b"d", b"i", b"e"))[:KEPT_FIELDS]
    return [part for name in first for part in (name, fields[name] if len(fields[name]) <= KEPT_BYTES else b"")]


def read_entry(raw: Sequence[Reply], deaths: int = 0) -> Entry:
    """An entry as a script returns it."""
    entry_id, flat = raw
    return Entry(entry_id.decode(), dict(zip(flat[::2], flat[1::2], strict=True)), deaths)
