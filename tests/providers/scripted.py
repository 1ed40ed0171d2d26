"""What fake services have in common: answers that a test lays down beforehand, and a server on a free port."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Scripted:
    """An answer given instead of the service's own. `hang`: none ever; `cut`: the connection is dropped instead."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hang: bool = False
    cut: bool = False

    async def give(self, request: web.Request) -> web.Response:
        """To one request, which was read."""
        if self.hang:
            await asyncio.Event().wait()
        if self.cut and request.transport is not None:
            request.transport.abort()
        return web.Response(status=self.status, headers=self.headers, body=self.body)


class Script:
    """What is to be answered next: each entry once, in order, and then `always` if there is one."""

    def __init__(self) -> None:
        self.next: deque[Scripted] = deque()
        self.always: Scripted | None = None

    def take(self) -> Scripted | None:
        """The answer to give now; None: the service's own."""
        return self.next.popleft() if self.next else self.always


@asynccontextmanager
async def listening(handle: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """A server whose every POST goes to `handle`, for the length of the block: its origin."""
    application = web.Application()
    application.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
