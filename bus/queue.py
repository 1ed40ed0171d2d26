"""A partition's ingest stream under a lease: take entries, and settle them. Everything here is fenced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.errors import BusError, Refused
from bus.keys import Keys
from bus.lease import Fenced, Lease
from bus.pipe import Arg, Call, Pipe, Reply
from bus.settlement import Acked, Buried, Step

GROUP: Final = "fanout"
LETTER: Final = (b"queue", b"entry", b"reason", b"attempts")
"""Fields that bury.lua puts before those of the entry, which may have none of these names."""
KEPT_FIELDS: Final = 100
KEPT_BYTES: Final = 131_072
"""What is kept of an entry that is buried: nothing that could be replayed is larger."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of a stream; one that was trimmed while it was pending has no fields."""

    id: str
    fields: Mapping[bytes, bytes]


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

    async def take(self) -> Batch:
        """The next entries: the pending ones first. Raises `Fenced`, `BusError`."""
        reply = await self._run([("take", self._keys, (*self._fence, GROUP, f"p{self.partition}", self.batch))])
        attempts, pending, newest, *entries = reply[0]
        return Batch(tuple(_entry(raw) for raw in entries), attempts, bool(pending), newest.decode())

    async def settle(self, steps: Sequence[Step], fields: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """Acknowledge and bury, in this order; `fields` of the entries by id. Raises `Fenced`, `BusError`."""
        await self._run([self._call(step, fields) for step in steps])

    async def attempt(self, entry_id: str) -> int:
        """Count a failure of the entry at the head. Raises `Fenced`, `BusError`."""
        lease, _, head = self._keys
        reply = await self._run([("attempt", (lease, head), (*self._fence, entry_id))])
        return int(reply[0])

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
        replies = await self._pipe.scripts(calls)
        for reply in replies:
            if isinstance(reply, Refused) and reply.code == "FENCED":
                raise Fenced(f"partition {self.partition}")
            if isinstance(reply, BusError):
                raise reply
        return replies


def kept(fields: Mapping[bytes, bytes]) -> list[bytes]:
    """What of an entry goes into its dead letter: field, value, …; oversized values are emptied, surplus fields go."""
    names = (name for name in fields if name not in LETTER)
    first = sorted(names, key=lambda name: name not in (b"v", b"p", b"d", b"i", b"e"))[:KEPT_FIELDS]
    return [part for name in first for part in (name, fields[name] if len(fields[name]) <= KEPT_BYTES else b"")]


def _entry(raw: Sequence[Reply]) -> Entry:
    entry_id, flat = raw
    return Entry(entry_id.decode(), dict(zip(flat[::2], flat[1::2], strict=True)))
