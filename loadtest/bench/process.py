"""Processes of a benchmark: started on a core of their own, read through /proc, and always ended."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

OPEN_FILES = 20_000


class Failed(RuntimeError):
    """Something the benchmark started does not work; the text says what and shows the end of its log."""


def allow_open_files() -> int:
    """Raise this process's limit, which children inherit, as far as it may go up to `OPEN_FILES`; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))
    return max(soft, ceiling)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started inside runs on this core; children inherit it from us. No effect where the core is not ours."""
    before = os.sched_getaffinity(0)
    if core in before:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A child in a session of its own, so that Ctrl-C reaches us first and we end it in order."""

    def __init__(self, command: Sequence[str], core: int, log: Path, env: Mapping[str, str] | None = None) -> None:
        self.log = log
        with on_core(core), log.open("ab") as out:
            self._child: subprocess.Popen[bytes] = subprocess.Popen(
                list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, start_new_session=True
            )
        self.pid = self._child.pid

    def check(self) -> None:
        """Raises `Failed` when it has ended."""
        if self._child.poll() is not None:
            raise Failed(f"{self.log.stem} ended with {self._child.returncode}:\n{tail(self.log)}")

    def end(self) -> None:
        """SIGTERM, and SIGKILL if that does not help within ten seconds."""
        end(self._child)


def end(child: subprocess.Popen[Any]) -> None:
    """End a child in good order if it still runs."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(5)


def tail(log: Path, size: int = 2_000) -> str:
    """The end of a log."""
    return log.read_bytes()[-size:].decode(errors="replace") if log.exists() else ""


def wait_until(ready: Any, seconds: float, what: str, *processes: Process) -> None:
    """Poll `ready()` until it is true. Raises `Failed` after `seconds`, or as soon as one of `processes` ends."""
    deadline = time.monotonic() + seconds
    while not ready():
        for process in processes:
            process.check()
        if time.monotonic() > deadline:
            raise Failed(f"{what} within {seconds:g} s" + "".join(f"\n{p.log.stem}: {tail(p.log)}" for p in processes))
        time.sleep(0.02)


def first_child(pid: int) -> int:
    """The process that `pid` started first, or 0."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else 0


def cpu_seconds(pid: int) -> float:
    """CPU time of all threads, user and system, in seconds; exact, where the ticks of /proc/PID/stat are 10 ms."""
    spent = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            spent += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return spent / 1e9


def memory(pid: int) -> tuple[int, int]:
    """Resident and proportional set size in bytes."""
    sizes = {}
    with Path(f"/proc/{pid}/smaps_rollup").open() as lines:
        for line in lines:
            name, _, rest = line.partition(":")
            if name in ("Rss", "Pss"):
                sizes[name] = int(rest.split()[0]) * 1024
    return sizes["Rss"], sizes["Pss"]


def pipe_of(stream: IO[bytes] | None) -> IO[bytes]:
    """A stream that was asked to be a pipe."""
    if stream is None:
        raise Failed("the child has no pipe")
    return stream
