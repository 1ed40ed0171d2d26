"""Fixtures for everyone: a real Redis of our own, and keys under a prefix that no other test has."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import hypothesis
import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.pipe import Pipe
from tocsin.embedded import EmbeddedRedis

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """One server for the whole run; tests keep apart by their prefix."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder, options={"appendonly": "no"}) as server:
        yield server


@pytest.fixture
def keys() -> Keys:
    """Keys under a prefix of this test's own."""
    return Keys(f"test-{uuid.uuid4().hex[:12]}", 8)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """On a machine that has everything (CI=true), a test that was skipped is a test that failed."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("\nCI=true: nothing may be skipped", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@asynccontextmanager
async def open_pipe(url: str) -> AsyncIterator[Pipe]:
    """A connected pipe for the length of the block."""
    pipe = Pipe(url, name="test", clock=SystemClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        try:
            await pipe.wait_up(5)
            yield pipe
        finally:
            running.cancel()
