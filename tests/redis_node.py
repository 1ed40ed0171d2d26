"""One Redis server process of a test's own: started, killed, frozen and started again on the same port and data."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

START_TIMEOUT = 20.0
END_TIMEOUT = 10.0


class Guard:
    """Ends servers when the tests are killed: a shell that is told their numbers and waits for our end of a pipe."""

    SCRIPT = 'trap "" INT TERM HUP; while read -r told; do pids=$told; done; [ -z "$pids" ] || kill -9 $pids'

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", self.SCRIPT], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def watch(self, pid: int) -> None:
        """End this process too."""
        self._tell(self._pids | {pid})

    def forget(self, pid: int) -> None:
        """It has ended; its number may be somebody else's from now on."""
        self._tell(self._pids - {pid})

    def _tell(self, pids: set[int]) -> None:
        self._pids = pids
        pipe = self._shell.stdin
        if pipe is not None and not pipe.closed:
            pipe.write(" ".join(map(str, pids)).encode() + b"\n")
            pipe.flush()

    def close(self) -> None:
        """End with whatever is still watched."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait(END_TIMEOUT)


@dataclass
class Node:
    """A server process. `made_as` is its part when the site was made: a failover changes who is master."""

    made_as: str
    port: int
    folder: Path
    program: str
    guard: Guard
    config: list[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    """How redis-py reaches it with every right."""
    _process: subprocess.Popen[bytes] | None = None
    frozen: bool = False
    _redis: Redis | None = None

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What the server says about itself."""
        return self.folder / "redis.log"

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process, without waiting for it."""
        assert not self.runs
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "redis.conf"
        if not file.exists():  # a sentinel writes what it finds out into its own
            file.write_text("\n".join(self.config) + "\n")
        command = [self.program, str(file)] + (["--sentinel"] if self.made_as == "sentinel" else [])
        with self.log.open("ab") as log:
            self._process = _popen(command, log, self.folder)
        self.guard.watch(self._process.pid)

    def await_answer(self) -> None:
        """Wait until this very process takes commands: not another with its port, nor while it loads its data."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            assert self.runs, f"{self.name} ended: {self.log.read_text(errors='replace')[-500:]}"
            assert time.monotonic() < deadline, f"{self.name} does not answer: {self.log.read_text()[-500:]}"
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            return bool(self.redis.info("server")["process_id"] == self.pid and self.redis.ping())
        except (RedisError, OSError):
            return False

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.launch()
        self.await_answer()

    @property
    def redis(self) -> Redis:
        """A client that is kept for looking at it; it connects again by itself."""
        if self._redis is None:
            self._redis = self.client()
        return self._redis

    def ask(self, *command: Any) -> Any:
        """Its answer to a command. Raises what redis-py raises."""
        return self.redis.execute_command(*command)

    def client(self, **options: Any) -> Redis:
        """A client of this server alone, with every right, that never repeats a command."""
        return Redis(host="127.0.0.1", port=self.port, retry=Retry(NoBackoff(), 0), **{**self.options, **options})

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """It hangs from now on (SIGSTOP); connections to it stay."""
        os.kill(self.pid, signal.SIGSTOP)
        self.frozen = True

    def resume(self) -> None:
        """It goes on where it stopped."""
        os.kill(self.pid, signal.SIGCONT)
        self.frozen = False

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if self._redis is not None:
            self._redis.close()
        if process is None:
            return
        process.send_signal(how)
        if self.frozen:
            process.send_signal(signal.SIGCONT)
            self.frozen = False
        try:
            process.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(END_TIMEOUT)
        self.guard.forget(process.pid)


def _popen(command: list[str], log: IO[bytes], folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True)


def start_all(nodes: Iterable[Node]) -> None:
    """Start them at the same time and wait for all."""
    nodes = list(nodes)
    for node in nodes:
        node.launch()
    for node in nodes:
        node.await_answer()
