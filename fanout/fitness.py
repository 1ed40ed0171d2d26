"""Is this a Redis that notifications can be trusted to? Asked once, at the start of every worker."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from bus.connect import check_fitness, check_installation, client
from bus.errors import BusDown
from bus.keys import Keys

RETRY: Final = 1.0

log = logging.getLogger(__name__)


async def fit(url: str, keys: Keys, stop: asyncio.Event) -> bool:
    """Wait for a Redis that answers, and check it; False when told to stop before. Raises `Unfit`."""
    while not stop.is_set():
        redis = client(url, name="worker-check")
        try:
            await check_fitness(redis)
            await check_installation(redis, keys)
            return True
        except BusDown as error:
            log.warning("waiting for Redis", extra={"reason": str(error)})
        finally:
            await redis.aclose()
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await stop.wait()
    return False
