"""Fixtures for everyone: a real Redis of our own, and keys under a prefix that no other test has."""

from __future__ import annotations

import asyncio
import gc
import os
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import hypothesis
import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.pipe import Pipe
from tests import servers
from tests.servers import CHOSEN, KINDS, Plan, RedisSite, start

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--redis`: what Redis the tests run on; some are about one server alone and are left out elsewhere."""
    parser.addoption("--redis", choices=KINDS, default="one", help="one server (default), sentinel, or cluster")


def pytest_configure(config: pytest.Config) -> None:
    """Tell those who start servers of their own, too."""
    servers.chosen = config.getoption("--redis")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about one server when there are several, and what runs on all forms by itself."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Files with most slow tests first, so that at the end no process is left alone with a long one.
        slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
        items.sort(key=lambda item: -slow[item.path])
    if config.getoption("--redis") == "one":
        return
    out = [item for item in items if any(item.get_closest_marker(name) for name in ("one_server", "sites"))]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in set(out)]


def pytest_collection_finish() -> None:
    """What is there before the first test stays to the end, so `nothing_left_open` need not look at it each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a file leaves open is told by the last test of that file, not by one far away that happens to collect it."""
    yield
    gc.collect()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test marked `sites` runs on each form of Redis, one after the other."""
    if "site" in metafunc.fixturenames:
        metafunc.parametrize("site", KINDS, indirect=True, scope="session")
    elif "site_kind" in metafunc.fixturenames:
        metafunc.parametrize("site_kind", KINDS)


CALM = Plan(options={"appendonly": "no"}, dead_after=10.0)
"""For servers that nothing is done to: being slow for a while is not being dead."""


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSite]:
    """The Redis of the whole run, in the form that `--redis` says; tests keep apart by their prefix."""
    with start(CHOSEN, tmp_path_factory.mktemp("redis"), CALM) as server:
        yield server


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSite]:
    """Each form of Redis in turn, shared by all tests marked `sites`: leave it whole, and change nothing for others."""
    with start(request.param, tmp_path_factory.mktemp(f"site-{request.param}"), CALM) as server:
        yield server


@pytest.fixture
def site_kind(request: pytest.FixtureRequest) -> str:
    """The name of each form in turn, for a test marked `sites` that starts its own and ruins it."""
    kind: str = request.param
    return kind


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


UP = 30.0
"""Seconds until a Redis that runs must have been reached: a bound, and no promise."""


@asynccontextmanager
async def open_pipe(url: str) -> AsyncIterator[Pipe]:
    """A connected pipe for the length of the block."""
    pipe = Pipe(url, name="test", clock=SystemClock())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        try:
            await pipe.wait_up(UP)
            yield pipe
        finally:
            running.cancel()
