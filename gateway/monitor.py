"""How long the event loop is blocked: a callback that should come every few milliseconds, and how late it comes."""

from __future__ import annotations

import asyncio
from typing import Final

from gateway.stats import Stats

PERIOD: Final = 0.005
"""Seconds between two looks; costs a core about 0.1 %."""


async def watch_loop(stats: Stats) -> None:
    """Keep the longest block in `stats` until cancelled; whoever scrapes it sets it back to 0."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + PERIOD
        await asyncio.sleep(PERIOD)
        late = loop.time() - due
        if late > stats.loop_blocked_seconds_max:
            stats.loop_blocked_seconds_max = late
