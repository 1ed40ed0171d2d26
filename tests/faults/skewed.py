"""Runs `tocsin` with a clock that may be set wrong: `python -m tests.faults.skewed FILE ROLE`; FILE holds seconds.

Only the time of day jumps, as when an operator or NTP sets it; what measures spans goes on, as it does then.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from bus.clock import SystemClock
from tocsin.cli import main


def skew(file: Path) -> None:
    """From now on every clock of this process is wrong by what the file says."""

    def wall(self: SystemClock) -> float:
        return time.time() + float(file.read_text() or 0)

    SystemClock.wall = wall  # type: ignore[method-assign]


if __name__ == "__main__":
    skew(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
