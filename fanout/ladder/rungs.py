"""Which ladder an event climbs, and which rung comes after which. Pure.

Live steps cost nothing and wait for nobody: to be put into the inbox is the live step. So the rungs that matter here
are the others, and what a live step would have waited is added to the wait of the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bus.event import CONDITIONS, RESERVED, VIAS, Event, Step
from bus.people.categories import Categories

LIVE: Final = "live"


@dataclass(frozen=True, slots=True)
class Rung:
    """A step of a ladder that costs a timer: its index there, and the seconds from the one before to it."""

    index: int
    wait: int


def resolve(event: Event, categories: Categories, default: Sequence[Step]) -> tuple[Step, ...]:
    """The ladder of an event: its own, else its category's, else the default.

    Empty for what nobody follows: the system's own types and clients' messages, and what is for those who listen now.
    """
    if event.ephemeral or event.ttl == 0 or event.type.startswith(RESERVED):
        return ()
    if event.ladder is not None:
        return event.ladder
    own = categories.of(event.category).ladder
    return tuple(default) if own is None else own


def first_rung(ladder: Sequence[Step]) -> Rung | None:
    """The first rung; None where live is all there is. For whoever is offline its wait is skipped."""
    return next_rung(ladder, -1)


def next_rung(ladder: Sequence[Step], index: int) -> Rung | None:
    """The rung after the step at `index`, None after the last."""
    wait = 0
    for place in range(index + 1, len(ladder)):
        wait += ladder[place].after
        if ladder[place].via != LIVE:
            return Rung(place, wait)
    return None


def encode_ladder(ladder: Sequence[Step]) -> bytes:
    """As it stands beside the publication; `decode_ladder` gives it back."""
    return orjson.dumps([_shown(step) for step in ladder])


def decode_ladder(data: bytes) -> tuple[Step, ...]:
    """A ladder as `encode_ladder` wrote it; empty where it is none that this release understands."""
    try:
        raw = orjson.loads(data)
    except orjson.JSONDecodeError:
        return ()
    steps = [_read(step) for step in raw] if isinstance(raw, list) else []
    return tuple(step for step in steps if step is not None) if None not in steps else ()


def _shown(step: Step) -> dict[str, Any]:
    shown: dict[str, Any] = {"via": step.via, "after": step.after}
    return shown if step.unless is None else shown | {"unless": step.unless}


def _read(raw: object) -> Step | None:
    if not isinstance(raw, Mapping):
        return None
    via, after, unless = raw.get("via"), raw.get("after"), raw.get("unless")
    if via not in VIAS or type(after) is not int or unless not in (None, *CONDITIONS):
        return None
    return Step(via, after, unless)
