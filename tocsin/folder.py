"""The data folder of `tocsin dev` (`.tocsin/`): one system at a time, its secret, and where it can be reached.

The lock says whether a system runs: the kernel lets it go with its holder, so it can be stale for nobody.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from gateway.settings import GatewaySettings
from tocsin.newkeys import NewKeys
from tocsin.trouble import CONFIG, Trouble

MIN_SECRET: Final = 32
"""Fewest bytes of an HMAC secret of HS256 (RFC 7518 §3.2)."""


@dataclass(frozen=True, slots=True)
class Running:
    """A running `tocsin dev`."""

    pid: int
    page: str
    """Address of the page, and of the gateway."""
    redis_url: str
    config: str
    """Path of the settings file that its roles read."""


class Folder:
    """One data folder; made when first written to, closed to other users of the machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.redis = path / "redis"
        self.config = path / "dev.toml"
        self._lock = path / "lock"
        self._running = path / "running.json"

    def make(self) -> None:
        """Create it. Raises `Trouble` when the system forbids it."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Trouble(
                f"cannot make the data folder {self.path}: {error.strerror}; choose another: --data-folder"
            ) from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for the length of the block. Raises `Trouble` when another system does."""
        self.make()
        with self._lock.open("a") as lock:
            if not _try_lock(lock, fcntl.LOCK_EX):
                found = self._read_running()
                who = f" (process {found.pid}, {found.page})" if found else ""
                raise Trouble(
                    f"`tocsin dev` already runs on the folder {self.path}{who}; "
                    "stop it, or give this one another folder: --data-folder"
                )
            try:
                yield
            finally:
                self._running.unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Say where the running system is; to be called while the folder is held."""
        self._running.write_text(json.dumps(asdict(running), indent=2) + "\n")

    def running(self) -> Running | None:
        """The system that runs on this folder now, or None."""
        try:
            lock = self._lock.open("r")
        except OSError:
            return None
        with lock:
            return None if _try_lock(lock, fcntl.LOCK_SH) else self._read_running()

    def _read_running(self) -> Running | None:
        try:
            return Running(**json.loads(self._running.read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def secret(self) -> str:
        """The development secret: made at first use, readable by its owner only."""
        return self._kept("secret", lambda: secrets.token_urlsafe(48)).strip()

    def keys(self) -> NewKeys:
        """The directory's and Web Push keys: made at first use, readable by their owner only."""
        return NewKeys.read(json.loads(self._kept("keys.json", lambda: json.dumps(NewKeys.make().as_dict(), indent=2))))

    def _kept(self, name: str, make: Callable[[], str]) -> str:
        self.make()
        path = self.path / name
        if not path.exists():
            # Written beside it and linked into place, so that nobody ever reads half a secret or replaces one.
            draft = self.path / f"{name}.{os.getpid()}"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(make() + "\n")
            with suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        return path.read_text()


def signing_secret(settings: GatewaySettings, folder: Folder) -> str:
    """The HMAC secret: the settings' own, else the folder's. Raises `Trouble` when it is too short to be safe."""
    secret = settings.token_secret or folder.secret()
    if len(secret.encode()) < MIN_SECRET:
        raise Trouble(f"TOCSIN_TOKEN_SECRET must have at least {MIN_SECRET} bytes", CONFIG)
    return secret


def _try_lock(file: IO[str], how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
