"""What is broken when, and for how long: a schedule that follows from a seed alone. Pure.

Each fault is of a kind and hits one target; two faults may be on at the same time, but not on the same target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final


class Kind(StrEnum):
    """What can befall a system."""

    KILL = "kill"
    """kill -9 of a role, and another in its place."""
    PAUSE = "pause"
    """SIGSTOP of a role."""
    DRAIN = "drain"
    """SIGTERM of a gateway, and another in its place."""
    CUT = "cut"
    """A link is reset, and whoever connects is refused."""
    HOLD = "hold"
    """A link is a blackhole."""
    DELAY = "delay"
    """A link is slow."""
    RESET = "reset"
    """The connections of a link end, once."""
    HALF_OPEN = "half open"
    """The servers' sides of a link end, and the clients are not told."""
    RESTART = "restart"
    """Redis is killed, and started again on its data."""
    HANG = "hang"
    """Redis is stopped for a while that is too short for anybody to take over."""
    FAIL_OVER = "fail over"
    """A master is killed and a replica takes over."""
    HAND_OVER = "hand over"
    """A master is told to let its replica take over."""
    LAG = "lag"
    """A master's replicas are cut off, what is written meanwhile is lost, and one of them takes over."""
    MOVE = "move"
    """Slots move from one master to another."""


LASTS: Final[Mapping[Kind, tuple[float, float]]] = {
    Kind.KILL: (0.0, 0.5),
    Kind.PAUSE: (1.5, 3.0),
    Kind.DRAIN: (0.0, 0.5),
    Kind.CUT: (0.5, 2.0),
    Kind.HOLD: (0.5, 3.0),
    Kind.DELAY: (1.0, 3.0),
    Kind.RESTART: (0.0, 0.5),
    Kind.HANG: (0.2, 0.5),
    Kind.LAG: (0.3, 0.6),
}
"""Least and most seconds; of the others, which are over when they have happened, none."""
SPACE: Final = 0.4
"""Least part of the run, in seconds, that lies between the beginnings of two faults."""


@dataclass(frozen=True, slots=True)
class Step:
    """A fault, seconds after the beginning."""

    at: float
    kind: Kind
    target: str
    lasts: float = 0.0

    def __str__(self) -> str:
        return f"{self.at:.1f} s: {self.kind} {self.target}" + (f" for {self.lasts:.1f} s" if self.lasts else "")


def schedule(seed: int, targets: Mapping[Kind, Sequence[str]], seconds: float, count: int) -> list[Step]:
    """`count` faults within `seconds`, in order: each kind once before any comes again."""
    chance = Random(seed)
    free: dict[str, float] = {}
    kinds: list[Kind] = []
    steps: list[Step] = []
    gap = max(SPACE, seconds / count)
    for number in range(count):
        if not kinds:
            kinds = [kind for kind, hit in targets.items() if hit]
            chance.shuffle(kinds)
        kind = kinds.pop()
        at = gap * number + chance.uniform(0, gap / 2)
        target = chance.choice(targets[kind])
        at = max(at, free.get(target, 0.0), steps[-1].at if steps else 0.0)
        lasts = chance.uniform(*LASTS.get(kind, (0.0, 0.0)))
        free[target] = at + lasts + SPACE
        steps.append(Step(at, kind, target, lasts))
    return steps
