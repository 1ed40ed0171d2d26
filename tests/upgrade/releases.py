"""Which release this one has to work with on one Redis, and its code in a folder of its own.

That is the newest tag `v*` that is not what is checked out; while there is none, the commit that the file PREVIOUS
names. A clone without either (a shallow one) has this release beside itself, so that the tests always run.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PREVIOUS: Final = Path(__file__).with_name("PREVIOUS")
CODE: Final = ("bus", "gateway", "fanout", "tocsin", "web", "templates")


@dataclass(frozen=True)
class Release:
    """`commit` is None for the code as it lies here."""

    name: str
    commit: str | None = None

    def unpack(self, folder: Path) -> Path:
        """Where its packages are."""
        if self.commit is None:
            return ROOT
        names = [name for name in CODE if _git("cat-file", "-e", f"{self.commit}:{name}") is not None]
        archive = _git("archive", self.commit, "--", *names)
        assert archive is not None
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        return folder


def previous(listed: Path = PREVIOUS) -> Release:
    """The release before this one."""
    head = _commit("HEAD")
    tags = (_git("tag", "--list", "v*", "--sort=-version:refname") or b"").decode().split()
    for tag in tags:
        if (commit := _commit(tag)) not in (None, head):
            return Release(tag, commit)
    named = [line for line in listed.read_text().splitlines() if line and not line.startswith("#")]
    for name in named:
        if (commit := _commit(name)) is not None:
            return Release(name[:7], commit)
    return Release("itself")


def _commit(name: str) -> str | None:
    found = _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return None if found is None else found.decode().strip()


def _git(*arguments: str) -> bytes | None:
    """What it prints; None where it fails, or there is none."""
    try:
        ran = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, timeout=30)
    except FileNotFoundError:
        return None
    return ran.stdout if ran.returncode == 0 else None
