"""Delivery workers that are there at once: forked from a process that has imported everything, one for each line read.

Run as a program: `python -m tests.faults.nursery CHANNEL …`; the settings are those of its environment. It prints the
process id of each worker, which is a process like any other, and ends with its standard input.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from fanout.deliver.main import main
from tests.tocsin_system import clean_environ

ROOT = Path(__file__).parents[2]


class Nursery:
    """From the outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.workers: list[int] = []

    def bear(self) -> int:
        """A new worker; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        self.workers.append(pid)
        return pid

    def kill(self, pid: int, how: signal.Signals = signal.SIGKILL) -> None:
        """End a worker, as a crash would unless told otherwise."""
        self.workers.remove(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, how)


@contextmanager
def nursery(log: Path, environ: Mapping[str, str], *channels: str) -> Iterator[Nursery]:
    """Open for the length of the block; what is still alive then is ended."""
    command = [sys.executable, "-m", "tests.faults.nursery", *channels]
    with log.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=out,
            env=clean_environ(environ),
            cwd=ROOT,
            text=True,
            start_new_session=True,
        )
    made = Nursery(process)
    try:
        yield made
    finally:
        for pid in tuple(made.workers):
            made.kill(pid)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def _serve(channels: list[str], lines: IO[str]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for _ in lines:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDWR), 0)
            os.dup2(2, 1)
            os._exit(main(channels))
        print(pid, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1:], sys.stdin)
