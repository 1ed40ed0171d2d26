"""Keeps producers that write to Redis themselves to their rates: what is over it is put off, and holds nobody up.

What came through a gateway was looked at there, and is not counted again. An entry is counted once and given its place
in time: when that comes, it is worked like any other, so a flood makes no more work than once aside and once back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bus.allowance import Limit
from bus.allowances import Allowances
from bus.codec import CHARGED, DIRECT
from bus.errors import BusError
from bus.outcome import Outcome
from bus.producers import Producers
from bus.queue import Entry
from fanout.look import Later
from fanout.plan import Current

Looked = Current | Later | Outcome

INTERNAL: Final = b"tocsin"
"""Producer of what clients publish and the system says."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The entries of one bucket in a batch, and the bucket."""

    limit: Limit
    places: list[int]


class Shaper:
    """One per partition."""

    def __init__(self, producers: Producers, allowances: Allowances) -> None:
        self._producers, self._allowances = producers, allowances
        self._counted: dict[str, float | None] = {}
        """What was said of the entries of the newest batch: one that is tried again must not be counted again."""

    async def shape(self, entries: Sequence[Entry], looked: Sequence[Looked]) -> list[Looked]:
        """The same, with what is over its producer's rate put off."""
        lines: dict[str, _Line] = {}
        for place, (entry, item) in enumerate(zip(entries, looked, strict=True)):
            if isinstance(item, Current | Later) and (found := self._bucket(entry)) is not None:
                bucket, limit = found
                lines.setdefault(bucket, _Line(limit, [])).places.append(place)
        told: dict[str, float | None] = {}
        for bucket, line in lines.items():
            told |= await self._count(bucket, line, [entries[place].id for place in line.places])
        self._counted = told
        return [_at(entry, item, told.get(entry.id)) for entry, item in zip(entries, looked, strict=True)]

    def _bucket(self, entry: Entry) -> tuple[str, Limit] | None:
        """Whose bucket an entry is taken from; None for what was counted before, or is not limited."""
        fields = entry.fields
        if any(name in fields for name in (CHARGED, b"d", b"i")) or fields.get(b"p") == INTERNAL:
            return None
        return self._producers.writes(fields.get(b"p", DIRECT.encode()).decode(errors="replace"))

    async def _count(self, bucket: str, line: _Line, ids: Sequence[str]) -> Mapping[str, float | None]:
        """When each of these may go on, None for now."""
        told: dict[str, float | None] = {entry: self._counted[entry] for entry in ids if entry in self._counted}
        new = [entry for entry in ids if entry not in told]
        if not new:
            return told
        try:
            found = await self._allowances.reserve(bucket, line.limit, len(new))
        except BusError:
            # The bucket may be on another server than what is worked here, which need not wait for it.
            return told | dict.fromkeys(new)
        for place, entry in enumerate(reversed(new)):
            earlier = place / line.limit.rate
            told[entry] = found.at - earlier if found.wait > earlier else None
        return told


def _at(entry: Entry, item: Looked, at: float | None) -> Looked:
    if at is None:
        return item
    match item:
        case Current(event, over):
            return Later(at, entry.id, entry.fields, event.ref, over)
        case Later(due, origin, fields, ref, over):
            return Later(max(at, due), origin, fields, ref, over)
        case _:
            return item
