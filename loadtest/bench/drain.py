"""The drain client seen from Python: builds the C program when a compiler is there, else runs `drain_fallback`."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from loadtest.bench.process import Failed, end, on_core, pipe_of

SOURCE = Path(__file__).with_name("drain.c")


def build(folder: Path) -> list[str]:
    """The command that runs a drain client; the compiled one lies in `folder`."""
    compiler = shutil.which("cc")
    program = folder / "drain"
    if compiler is not None:
        built = subprocess.run([compiler, "-O2", "-o", str(program), str(SOURCE)], capture_output=True, check=False)
        if built.returncode == 0:
            return [str(program)]
    return [sys.executable, "-m", "loadtest.bench.drain_fallback"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to open. `hello` holds one line per connection (a tab goes out as a newline); ready after `replies`."""

    port: int
    path: str
    connections: int
    hello: Path | None = None
    replies: int = 0
    window: int = 200
    stamp: str | None = None
    nap: int = 0
    """Microseconds between two polls, so that the server's writes do not pay for waking the client."""
    life: int = 300

    def arguments(self) -> list[str]:
        """As the command line of the client."""
        given: dict[str, Any] = {
            "port": self.port,
            "path": self.path,
            "connections": self.connections,
            "hello": self.hello,
            "replies": self.replies,
            "window": self.window,
            "stamp": self.stamp,
            "nap": self.nap,
            "life": self.life,
        }
        return [f"--{name}={value}" for name, value in given.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Report:
    """Counters of the client; times in nanoseconds of CLOCK_MONOTONIC, 0 where it has not happened."""

    ready: int
    failed: int
    closed: int
    refused: int
    close_code: int
    messages: int
    frames: int
    bytes: int
    pings: int
    began_ns: int
    ready_ns: int
    first_ns: int
    last_ns: int


class Drain:
    """A running drain client. Use as a context manager; leaving it resets all its connections."""

    def __init__(self, command: Sequence[str], plan: Plan, core: int) -> None:
        self._plan = plan
        with on_core(core):
            self._child = subprocess.Popen(
                [*command, *plan.arguments()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        self._unread = b""

    @property
    def pid(self) -> int:
        """Of the client's process."""
        return self._child.pid

    def wait_ready(self, seconds: float = 60) -> Report:
        """Until every connection is ready. Raises `Failed` when one is not."""
        report = self._read("ready", seconds)
        if report.ready != self._plan.connections or report.refused or report.closed:
            raise Failed(
                f"{report.ready} of {self._plan.connections} connections ready, {report.failed} failed, "
                f"{report.refused} refused, {report.closed} closed (last code {report.close_code})"
            )
        return report

    def reset(self) -> None:
        """Count from zero."""
        self._say("reset")
        self._read("reset", 10)

    def wait(self, messages: int, seconds: float = 20) -> Report:
        """Until that many messages came since the reset. Raises `Failed` when fewer did."""
        self._say(f"wait {messages} {int(seconds * 1000)}")
        report = self._read("wait", seconds + 5)
        if report.messages < messages:
            raise Failed(f"{report.messages} of {messages} messages came; {report.closed} connections were closed")
        return report

    def report(self) -> Report:
        """The counters now."""
        self._say("report")
        return self._read("report", 10)

    def samples(self) -> list[int]:
        """Latency of every stamped message since the reset, in microseconds."""
        self._say("samples")
        return list(self._line("samples", 10)["us"])

    def _say(self, line: str) -> None:
        try:
            pipe_of(self._child.stdin).write(line.encode() + b"\n")
        except BrokenPipeError:
            raise Failed("the drain client ended") from None

    def _read(self, event: str, seconds: float) -> Report:
        fields = self._line(event, seconds)
        return Report(**{name: fields[name] for name in Report.__slots__})

    def _line(self, event: str, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            line, found, rest = self._unread.partition(b"\n")
            if not found:
                self._more(deadline, event)
                continue
            self._unread = rest
            fields: dict[str, Any] = json.loads(line)
            if fields["event"] == event:
                return fields

    def _more(self, deadline: float, event: str) -> None:
        pipe = pipe_of(self._child.stdout)
        if not select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))[0]:
            raise Failed(f"no `{event}` from the drain client in time")
        got = os.read(pipe.fileno(), 1 << 16)
        if not got:
            raise Failed("the drain client ended")
        self._unread += got

    def __enter__(self) -> Drain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._child)
        for pipe in (self._child.stdin, self._child.stdout):
            pipe_of(pipe).close()
