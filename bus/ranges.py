"""Sets of offsets as closed ranges: what a person's devices have acknowledged, in few bytes.

Always sorted, apart (neighbours are one range), and at most `MOST` of them: where more would be needed the lowest goes,
which errs towards sending again. `bus/scripts/receipts.lua` has the same arithmetic, tested against this.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final

from bus.cursor import MAX_OFFSET

MOST: Final = 32

Ranges = tuple[tuple[int, int], ...]
"""First and last offset of each."""

NOTHING: Final[Ranges] = ()


def merge(ranges: Iterable[tuple[int, int]], added: Iterable[tuple[int, int]], most: int = MOST) -> Ranges:
    """Both together; of more than `most` ranges the highest."""
    out: list[tuple[int, int]] = []
    for first, last in sorted((*ranges, *added)):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], last))
        else:
            out.append((first, last))
    return tuple(out[-most:])


def without(ranges: Ranges, known: Ranges) -> Ranges:
    """What of `ranges` is not in `known`."""
    out: list[tuple[int, int]] = []
    for first, last in ranges:
        for known_first, known_last in known:
            if known_last < first or known_first > last:
                continue
            if known_first > first:
                out.append((first, known_first - 1))
            first = known_last + 1
        if first <= last:
            out.append((first, last))
    return tuple(out)


def covers(ranges: Ranges, offset: int) -> bool:
    """Whether an offset is in one of them."""
    at = bisect_right(ranges, (offset, inf))
    return at > 0 and ranges[at - 1][1] >= offset


def size(ranges: Iterable[tuple[int, int]]) -> int:
    """How many offsets they have."""
    return sum(last - first + 1 for first, last in ranges)


def pieces(ranges: Ranges, most: int) -> Iterator[Ranges]:
    """The same, in order, in pieces of at most `most` offsets; nothing where there are none."""
    piece: list[tuple[int, int]] = []
    room = most
    for first, last in ranges:
        while first <= last:
            end = min(last, first + room - 1)
            piece.append((first, end))
            room -= end - first + 1
            first = end + 1
            if not room:
                yield tuple(piece)
                piece, room = [], most
    if piece:
        yield tuple(piece)


def text(ranges: Iterable[tuple[int, int]]) -> str:
    """`1-3,5-5`, as it is stored."""
    return ",".join(f"{first}-{last}" for first, last in ranges)


def parse(stored: bytes | None) -> Ranges:
    """What `text` made; nothing for None. A part that is not of that form is left out, as if it had never been: that
    errs towards sending."""
    found = (_range(part) for part in (stored or b"").split(b","))
    return merge((), (each for each in found if each is not None))


def _range(part: bytes) -> tuple[int, int] | None:
    first, dash, last = part.partition(b"-")
    if not dash or not first.isdigit() or not last.isdigit() or max(len(first), len(last)) > len(str(MAX_OFFSET)):
        return None
    return (int(first), int(last)) if 0 < int(first) <= int(last) <= MAX_OFFSET else None
