"""Fixtures of the fan-out worker, and what its tests run on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.bus.conftest import any_server
from tests.fanout.steady import loops_for

__all__ = ["any_server"]

ALONE = ("test_deadlines.py", "test_guard.py")
"""Files whose tests, like those of the channels, have both sides in their own process."""


def pytest_asyncio_loop_factories(config: Any, item: Any) -> Mapping[str, Callable[[], Any]]:
    """Where nothing but this process has to answer in time, time counts in which it could."""
    return loops_for(item.path.parent.name == "channels" or item.path.name in ALONE)
