"""`python -m tests.simulation --seeds 1000` looks for a seed that breaks an invariant; `--seed N --trace` shows how."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

from tests.simulation.world import run


def main(argv: list[str] | None = None) -> int:
    """1 when an invariant was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, metavar="N", help="how many seeds to try (100)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the first of them (0)")
    parser.add_argument("--seed", type=int, metavar="SEED", help="try this one alone")
    parser.add_argument("--trace", action="store_true", help="say what happens, step by step")
    parser.add_argument("--json", action="store_true", help="say the outcome as JSON")
    options = parser.parse_args(argv)
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    began, failed, totals = time.monotonic(), [], {"events": 0, "calls": 0, "resyncs": 0, "failovers": 0, "steps": 0}
    for number, seed in enumerate(seeds, 1):
        result = run(seed, trace=options.trace)
        for name in totals:
            totals[name] += getattr(result, name)
        if options.trace:
            print(*result.trace, sep="\n", file=sys.stderr)
        if result.fault:
            failed.append({k: v for k, v in asdict(result).items() if k in ("seed", "fault")})
            if not options.json:
                print(f"\nseed {seed}: {result.fault}")
        if not options.json and sys.stdout.isatty():
            print(f"\r{number} of {len(seeds)} seeds, {len(failed)} failed", end="", flush=True)
    told = {"seeds": len(seeds), "failed": failed, **totals, "seconds": round(time.monotonic() - began, 1)}
    if options.json:
        print(json.dumps(told, indent=2))
    else:
        print(f"\r{told['seeds']} seeds in {told['seconds']} s, {len(failed)} failed; {totals}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
