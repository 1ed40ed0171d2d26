"""From the outcomes of a batch to what is done about it: nothing behind an unfinished entry is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bus.outcome import Outcome
from bus.policy import Ack, Bury, Defer, Pause, RetryPolicy


@dataclass(frozen=True, slots=True)
class Acked:
    """These entries are finished."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Buried:
    """This entry goes to the dead letters."""

    id: str
    reason: str
    attempts: int


Step = Acked | Buried


@dataclass(frozen=True, slots=True)
class Held:
    """The entry that is not finished. In an ordered queue it is the head now, and all behind it wait."""

    id: str
    settlement: Defer | Pause


@dataclass(frozen=True, slots=True)
class Settled:
    """The steps to take at once, in order, and what holds the queue up after them."""

    steps: tuple[Step, ...]
    held: Held | None


def settle(
    ids: Sequence[str], outcomes: Sequence[Outcome], failures: int, policy: RetryPolicy, chance: float
) -> Settled:
    """Settle a batch. `outcomes` may be fewer than `ids`: the rest was not tried and stays pending.

    `failures`: how often the first entry has failed before; `chance`: a random number from 0 to 1.
    """
    steps: list[Step] = []
    run: list[str] = []

    def close_run() -> None:
        if run:
            steps.append(Acked(tuple(run)))
            run.clear()

    held: Held | None = None
    for place, (entry_id, outcome) in enumerate(zip(ids, outcomes, strict=False)):
        attempt = failures + 1 if place == 0 else 1
        settlement = policy.settle(outcome, attempt, chance)
        match settlement:
            case Ack():
                run.append(entry_id)
            case Bury(reason):
                close_run()
                steps.append(Buried(entry_id, reason, attempt))
            case Defer() | Pause():
                held = Held(entry_id, settlement)
                break
    close_run()
    return Settled(tuple(steps), held)
