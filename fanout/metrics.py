"""/metrics, /healthz and /readyz of a worker: enough HTTP for a scraper, and nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.registry import Collector

from bus.clock import Clock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from bus.queue import GROUP
from fanout.stats import Backlog
from fanout.vital import Vital

PATIENCE: Final = 5.0
COUNTED: Final = 100
"""Before Redis 7 the entries behind a group can only be counted by reading them; no more than this are."""


async def read_backlog(pipe: Pipe, keys: Keys, partitions: Sequence[int], clock: Clock) -> Backlog:
    """What waits in these partitions. Raises `BusError`."""
    replies = await pipe.asks(("XINFO", "GROUPS", keys.events(p)) for p in partitions)
    groups = [(p, group) for p, reply in zip(partitions, replies, strict=True) if (group := _group(reply))]
    heads = await pipe.asks(("HGET", keys.head(p), "acked") for p, _ in groups)
    starts = [b"(" + acked if isinstance(acked, bytes) else b"-" for acked in heads]
    oldest = await pipe.asks(
        ("XRANGE", keys.events(p), start, "+", "COUNT", 1) for (p, _), start in zip(groups, starts, strict=True)
    )
    backlog = Backlog()
    for (p, group), entries in zip(groups, oldest, strict=True):
        if isinstance(entries, BusError):
            raise entries
        if entries:
            waiting = int(group[b"pending"]) + await _behind(pipe, keys.events(p), group)
            age = max(0.0, clock.wall() - int(entries[0][0].partition(b"-")[0]) / 1000)
            backlog.partitions[p] = (waiting, age)
            backlog.waiting += waiting
            backlog.oldest = max(backlog.oldest, age)
    return backlog


def _group(reply: Reply) -> dict[bytes, Reply] | None:
    if isinstance(reply, BusError):
        return None  # no stream yet
    for flat in reply:
        group = dict(zip(flat[::2], flat[1::2], strict=True))
        if group[b"name"] == GROUP.encode():
            return group
    return None


async def _behind(pipe: Pipe, stream: str, group: dict[bytes, Reply]) -> int:
    if (lag := group.get(b"lag")) is not None:
        return int(lag)
    start = b"(" + group[b"last-delivered-id"]
    return len(await pipe.ask("XRANGE", stream, start, "+", "COUNT", COUNTED))


class MetricsServer:
    """Answers `GET /metrics`, `GET /healthz` (this process turns) and `GET /readyz` (it does its work), then closes.
    `refresh` asks Redis for the figures that it knows."""

    def __init__(self, stats: Collector, refresh: Callable[[], Awaitable[None]], vital: Vital) -> None:
        self._refresh, self._vital = refresh, vital
        self._registry = CollectorRegistry()
        self._registry.register(stats)

    async def run(self, host: str, port: int) -> None:
        """Serve until cancelled."""
        server = await asyncio.start_server(self._serve, host, port, limit=8_192)
        async with server:
            await server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                status, body = await self._answer(head.split(b" ", 2)[1])
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
                    + body
                )
                await writer.drain()
        except (TimeoutError, OSError, EOFError, IndexError, asyncio.LimitOverrunError):
            pass  # a scraper that went away, or no HTTP at all
        finally:
            writer.close()

    async def _answer(self, path: bytes) -> tuple[str, bytes]:
        if path == b"/healthz":
            return "200 OK", b"ok\n"
        if path == b"/readyz":
            ready, shown = self._vital.shown()
            return ("200 OK" if ready else "503 Service Unavailable"), orjson.dumps(shown)
        if path != b"/metrics":
            return "404 Not Found", b""
        with suppress(BusError):  # the counters are worth having without it
            await self._refresh()
        return "200 OK", generate_latest(self._registry)
