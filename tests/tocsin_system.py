"""A whole development system for tests: started as a user would, on a free port and with a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Dev:
    """A running `tocsin dev`."""

    process: subprocess.Popen[str]
    folder: Path
    page: str
    redis_url: str

    def tocsin(self, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Another command, given in the same folder."""
        return tocsin(*argv, "--data-folder", str(self.folder), check=check)

    def token(self, user: str) -> str:
        """A token from the command line."""
        return self.tocsin("token", user).stdout.strip()

    @property
    def ws(self) -> str:
        """Address of the WebSocket endpoint."""
        return self.page.replace("http://", "ws://") + "connection/websocket"


def clean_environ(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without anything of ours, and with `extra`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("TOCSIN_")} | dict(extra or {})


def command(*argv: str) -> list[str]:
    """How to run a command of ours."""
    return [sys.executable, "-m", "tocsin", *argv]


def tocsin(
    *argv: str, check: bool = True, environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*argv), capture_output=True, text=True, timeout=LIMIT, check=check, env=clean_environ(environ)
    )


@contextmanager
def dev(folder: Path, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[Dev]:
    """A system that is ready when the block begins and ended in good order after it."""
    argv = command("dev", "--port", "0", "--json", "--data-folder", str(folder), *options)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=clean_environ(environ)) as process:
        try:
            assert process.stdout is not None
            patience = threading.Timer(LIMIT, process.kill)
            patience.start()
            line = process.stdout.readline()
            patience.cancel()
            assert line, "it ended before it was ready"
            told = json.loads(line)
            yield Dev(process, folder, told["page"], told["redis_url"])
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(LIMIT)


def descendants(pid: int) -> set[int]:
    """All processes below one, by /proc."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def is_gone(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


class Client:
    """A client of the protocol that waits for one thing at a time."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._read: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._id = 0

    async def ask(self, method: str, **request: Any) -> dict[str, Any]:
        """A command's reply."""
        self._id += 1
        await self._socket.send(json.dumps({"id": self._id, method: request}))
        while True:
            message = await self._next()
            if message.get("id") == self._id:
                return message
            self._read.append(message)

    async def publication(self, channel: str) -> dict[str, Any]:
        """The next publication in a channel."""
        while True:
            message = self._read.pop(0) if self._read else await self._next()
            push = message.get("push", {})
            if push.get("channel") == channel and "pub" in push:
                return dict(push["pub"])

    async def _next(self) -> dict[str, Any]:
        if not self._lines:
            self._lines = str(await self._socket.recv()).split("\n")
        return dict(json.loads(self._lines.pop(0)))


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Client]:
    """A WebSocket to the gateway."""
    async with connect(url) as socket:
        yield Client(socket)
