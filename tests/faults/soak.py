"""Long and random: `python -m tests.faults.soak [--site one|sentinel|cluster] [--seconds N] [--seed N] [--json]`.

Runs follow each other in one world, each with a seed of its own, until the time is over. Each is judged by all
invariants; what is against one is printed with the seed that shows it, which `--seed N --runs 1` plays again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.checker import Limits, check
from tests.faults.ledger import REPLICATED, STORED
from tests.faults.nemesis import Kind
from tests.faults.scene import Scene, Size, play
from tests.faults.world import World, world
from tests.servers import KINDS

LIMITS = Limits(script=0.25, reach=15.0)
"""Of a machine that does other things too."""
SHOWN = 20
"""Violations of a run that are printed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one run went."""

    seed: int
    seconds: float
    steps: list[str]
    counts: dict[str, int]
    violations: list[str]

    def shown(self) -> dict[str, Any]:
        """As JSON has it."""
        return {name: getattr(self, name) for name in ("seed", "seconds", "steps", "counts", "violations")}


def verdict(scene: Scene, seed: int, seconds: float) -> Verdict:
    """What is wrong with a run, and how much of what went on in it."""
    ledger = scene.ledger
    found = [str(violation) for violation in check(ledger, LIMITS)]
    found += [f"a producer was told: {text}" for text in scene.unhelpful]
    counts = {
        "accepted": len(ledger.accepted),
        "seen": len(ledger.seen),
        "stored": len(ledger.stored),
        "calls": len(ledger.calls),
        "keys called": len({call.key for call in ledger.calls}),
        "ends": len(ledger.ends),
        "withdrawn": len(ledger.withdrawn),
        "drained": len(ledger.drained),
        "looks at queues": len(ledger.queues),
    }
    return Verdict(seed, round(seconds, 1), [str(step) for step in scene.steps], counts, found)


def run(options: argparse.Namespace, told: Callable[[str], None]) -> list[Verdict]:
    """All runs, one after the other."""
    verdicts: list[Verdict] = []
    deadline = time.monotonic() + options.seconds
    size = Size(seconds=options.length, faults=options.faults)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder, world(Path(folder), options.site) as made:
        for number in range(options.runs) if options.runs else _forever():
            if number and time.monotonic() > deadline:
                break
            seed = options.seed + number
            told(f"seed {seed}")
            began = time.monotonic()
            scene = asyncio.run(play(made, seed, size, mode=options.mode, only=_kinds(options), told=told))
            verdicts.append(verdict(scene, seed, time.monotonic() - began))
            _tell(verdicts[-1], made, told)
    return verdicts


def _forever() -> Any:
    number = 0
    while True:
        yield number
        number += 1


def _kinds(options: argparse.Namespace) -> frozenset[Kind] | None:
    return frozenset(map(Kind, options.only)) if options.only else None


def _tell(given: Verdict, made: World, told: Callable[[str], None]) -> None:
    told(f"  {given.seconds} s, " + ", ".join(f"{count} {name}" for name, count in given.counts.items()))
    for text in given.violations[:SHOWN]:
        told(f"  VIOLATION {text}")
    if len(given.violations) > SHOWN:
        told(f"  … and {len(given.violations) - SHOWN} more")
    for line in made.faults()[:SHOWN]:
        told(f"  LOGGED {line[:500]}")


def main(argv: list[str] | None = None) -> int:
    """Run it; 1 when something was against an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--site", choices=KINDS, default="one", help="the form of Redis")
    parser.add_argument("--seconds", type=float, default=600.0, help="no run begins later (default 600)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000), help="of the first run")
    parser.add_argument("--runs", type=int, default=0, help="at most so many (default: as many as there is time for)")
    parser.add_argument("--length", type=float, default=20.0, help="seconds of faults in a run (default 20)")
    parser.add_argument("--faults", type=int, default=14, help="faults in a run (default 14)")
    parser.add_argument("--only", action="append", choices=list(Kind), help="kinds of faults (repeatable)")
    parser.add_argument("--mode", choices=(STORED, REPLICATED), default=STORED, help="durability of the first producer")
    parser.add_argument("--json", action="store_true", help="print the verdicts as JSON")
    options = parser.parse_args(argv)
    verdicts = run(options, lambda text: print(text, file=sys.stderr, flush=True))
    broken = [given for given in verdicts if given.violations]
    if options.json:
        print(json.dumps([given.shown() for given in verdicts], indent=2))
    else:
        said = f"{len(broken)} broke an invariant: seeds {[v.seed for v in broken]}" if broken else "all well"
        print(f"{options.site}: {len(verdicts)} runs from seed {options.seed}, {said}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
