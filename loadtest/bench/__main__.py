"""`python -m loadtest.bench`: run the measures, alternating between the servers, and print and write the medians."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from loadtest.bench import deliver, fanout
from loadtest.bench.drain import build
from loadtest.bench.herd import Herded
from loadtest.bench.measures import GROUNDED, MEASURES, QUICK, SELDOM, Bench, Scale
from loadtest.bench.process import Failed, allow_open_files
from loadtest.bench.report import figures, results, table
from loadtest.bench.servers import Floor, Ground, Nchan, Server, Tocsin

Readings = defaultdict[str, list[float]]


def main() -> int:
    """Returns 0 when all figures hold, 1 when one does not, 2 when a measure failed, 130 after Ctrl-C."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that every process is ended
    allow_open_files()
    if (os.cpu_count() or 1) < 2:
        print("one core only: the load shares it with the gateway, so wall-clock figures mean little", file=sys.stderr)
    scale = QUICK if options.quick else Scale()
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        series = Series(Bench(build(Path(folder)), scale), Path(folder))
        try:
            series.run(options.runs, options.only, with_nchan=Nchan.installed() and not options.without_nchan)
        except KeyboardInterrupt:
            return 130
    found = series.readings
    rows = results(found[Tocsin], found[Nchan], figures(scale.broadcast), found[Floor])
    print(table(rows))
    options.json.write_text(json.dumps({"machine": _machine(), "runs": options.runs, "figures": rows}, indent=2) + "\n")
    print(f"written to {options.json}")
    if series.failures:
        return 2
    return 1 if any(row["held"] is False for row in rows) else 0


class Series:
    """Runs that alternate between the servers, and what they read."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self._bench = bench
        self._folder = folder
        self.readings: dict[type[Server], Readings] = {kind: defaultdict(list) for kind in (Tocsin, Nchan, Floor)}
        self.failures = 0

    def run(self, runs: int, measures: list[str], *, with_nchan: bool) -> None:
        """All measures of a run on both servers before the next run."""
        for run in range(1, runs + 1):
            for measure in measures:
                if run > SELDOM.get(measure, run):
                    continue
                for kind in _kinds(measure, with_nchan=with_nchan):
                    self._one(measure, kind, run)

    def _one(self, measure: str, kind: type[Server], run: int) -> None:
        title, began = f"run {run} {measure:9} {kind.name:6}", time.monotonic()
        try:
            with kind(self._folder / f"{kind.name}-{measure}-{run}") as server:
                found = MEASURES[measure](self._bench, server)
        except Failed as failure:
            self.failures += 1
            print(f"{title} failed: {failure}", file=sys.stderr, flush=True)
            return
        for name, value in found.items():
            self.readings[Tocsin if issubclass(kind, Tocsin) else kind][name].append(value)
        shown = "  ".join(f"{name} {value:,.2f}" for name, value in found.items())
        print(f"{title} {time.monotonic() - began:5.1f} s  {shown}", file=sys.stderr, flush=True)


def _kinds(measure: str, *, with_nchan: bool) -> list[type[Server]]:
    """The servers that a measure is made on."""
    if measure in fanout.MEASURES:
        return [fanout.Worker]
    if measure in deliver.MEASURES:
        return [deliver.Senders]
    if measure == "herd":
        return [Herded]
    if measure in GROUNDED:
        return [Ground]
    beside: list[type[Server]] = [Nchan] if with_nchan else []
    return [Tocsin, *beside, *([Floor] if measure == "broadcast" else [])]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    parser.add_argument("--only", type=_measures, default=list(MEASURES), help=f"of {','.join(MEASURES)}")
    parser.add_argument("--runs", type=int, default=5, help="how many times; the figures are their medians (5)")
    parser.add_argument("--quick", action="store_true", help="a small scale, to see that all works")
    parser.add_argument("--without-nchan", action="store_true")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where to write (bench.json)")
    return parser.parse_args()


def _measures(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(MEASURES):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _machine() -> dict[str, object]:
    return {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()}


if __name__ == "__main__":
    sys.exit(main())
