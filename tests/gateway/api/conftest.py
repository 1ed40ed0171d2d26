"""`open_api` on the Redis and under the prefix of the test."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial

import pytest

from bus.keys import Keys
from tests.gateway.api import harness
from tests.gateway.api.harness import Api
from tests.servers import RedisSite

OpenApi = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture
def open_api(redis_server: RedisSite, keys: Keys) -> OpenApi:
    """`async with open_api(setting=value, …) as api`."""
    return partial(harness.open_api, redis_server.url, keys)
