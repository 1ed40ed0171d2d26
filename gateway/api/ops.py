"""What operators and their tools ask: alive, ready, how much."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gateway.api.problem import unavailable
from gateway.health import Readiness
from gateway.ingest import IngestStats
from gateway.metrics import ApiStats, StatsCollector, render
from gateway.stats import Stats

PROBE_TIMEOUT: Final = 3.0
"""Seconds that readiness may take."""

Probe = Callable[[], Awaitable[Readiness]]
"""Whether something sent through Redis came back to this node, and it is not being drained."""
UNKNOWN: Final = Readiness(False, "unknown", PROBE_TIMEOUT)


class Ops:
    """The endpoints of operation."""

    def __init__(self, probe: Probe, stats: Stats, ingest: IngestStats, api: ApiStats) -> None:
        self._probe = probe
        self._stats = stats
        self._collector = StatsCollector(("tocsin_gateway", stats), ("tocsin_ingest", ingest), ("tocsin_http", api))

    async def healthz(self, request: Request) -> Response:
        """This process runs its loop; it says nothing of Redis, or a restart would be asked for where none helps."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, request: Request) -> Response:
        """An event that came now would reach connections here."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                found = await self._probe()
        except TimeoutError:
            found = UNKNOWN
        shown = {"state": found.state, "seconds": round(found.seconds, 1)}
        if found.ready:
            return JSONResponse({"status": "ready", **shown})
        return replace(unavailable("this node is not ready"), members=shown).response()

    async def metrics(self, request: Request) -> Response:
        """Every counter of this process."""
        shown = render(self._collector)
        self._stats.loop_blocked_seconds_max = 0.0  # the longest since the last scrape
        return Response(shown, headers={"content-type": CONTENT_TYPE_LATEST})
