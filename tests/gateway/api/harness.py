"""The HTTP application on a real Redis, called in process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import httpx
import orjson

from bus.clock import SystemClock
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.people.erase import Eraser
from bus.pipe import Pipe
from bus.stored_rules import StoredRules
from gateway.api.app import ApiParts, application, routes
from gateway.control import Control
from gateway.effects import Claims, Denied, Verified
from gateway.forgetting import Forgetting
from gateway.health import Readiness
from gateway.ingest import Ingest
from gateway.people import People
from gateway.relay import Relay
from gateway.revocation import Order, Revocations
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.wire.codes import Disconnect, Error
from tests.bus.holding_proxy import HoldingProxy
from tests.conftest import open_pipe

KEY, OPS_KEY = "shop-key-0123456789", "ops-key-0123456789"
TOKENS: dict[str, Verified | Denied] = {
    "good": Verified(Claims("alice", 4_000_000_000.0, ("news:sport",), b'{"name":"A"}')),
    "expired": Denied(Error.TOKEN_EXPIRED),
    "unknown": Denied(Disconnect.INVALID_TOKEN),
    "unchecked": Denied(Error.INTERNAL),
}


def api_keys(**more: Any) -> dict[str, Any]:
    """A producer's key and an operator's."""
    return {
        "shop": {"sha256": sha256(KEY.encode()).hexdigest(), "scopes": ["events"], **more},
        "ops": {"sha256": sha256(OPS_KEY.encode()).hexdigest(), "scopes": ["admin"]},
    }


@dataclass
class Api:
    """The application, and what a test looks at beside its answers."""

    client: httpx.AsyncClient
    keys: Keys
    pipe: Pipe
    ingest: Ingest
    parts: ApiParts
    app: Any
    orders: list[Order]
    """What connections here would have been told."""

    async def post(self, body: Any, headers: dict[str, str] | None = None, **more: Any) -> httpx.Response:
        """POST /v1/events as the shop: `body` as JSON, or as it is when bytes."""
        given = {"x-api-key": KEY, "content-type": "application/json"} | (headers or {})
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return await self.client.post("/v1/events", content=content, headers=given, **more)

    async def stored(self) -> list[dict[str, Any]]:
        """Every event in the streams, in the order of the partitions and then of the entries."""
        found = []
        for partition in range(self.keys.partitions):
            for position, fields in await self.pipe.ask("XRANGE", self.keys.events(partition), "-", "+"):
                entry = dict(zip(fields[::2], fields[1::2], strict=True))
                event = orjson.loads(entry[b"e"])
                found.append(event | {"partition": partition, "position": position.decode(), "p": entry[b"p"].decode()})
        return found

    async def cut_off(self, proxy: HoldingProxy) -> None:
        """End the connection to Redis, and wait until the pipe has noticed."""
        proxy.cut()
        while self.pipe.up:  # noqa: ASYNC110  # there is no event for what its loop does next
            await asyncio.sleep(0)


@dataclass
class Prober:
    """What the probe of readiness says."""

    ready: bool = True
    asked: int = field(default=0)

    async def __call__(self) -> Readiness:
        self.asked += 1
        return Readiness(self.ready, "healthy" if self.ready else "stale", 0.25)


@asynccontextmanager
async def open_api(
    url: str, keys: Keys, *, ingest_options: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Api]:
    """The application on the Redis at `url`; `settings` change the gateway's."""
    async with asyncio.timeout(60), open_pipe(url) as pipe:
        ingest = Ingest(pipe, keys, SystemClock(), **(ingest_options or {}))
        changed = replace(GatewaySettings(api_keys=api_keys()), **settings)
        namespaces = Namespaces(changed.namespaces)
        people = People(pipe, keys, SystemClock(), changed, namespaces)
        eraser = Eraser(pipe, keys, people.directory, people.followers)
        relay = Relay(pipe, keys, 1_000, 60.0)
        rules = StoredRules(pipe, keys, namespaces)
        orders: list[Order] = []
        parts = ApiParts(
            settings=changed,
            clock=SystemClock(),
            keys=keys,
            pipe=pipe,
            ingest=ingest,
            stats=Stats(),
            authenticate=lambda token, answer: answer(TOKENS.get(token, TOKENS["unknown"])),
            probe=Prober(),
            people=people,
            forgetting=Forgetting(pipe, keys, relay, eraser),
            control=Control(
                changed, pipe, keys, SystemClock(), relay, Revocations(changed.revocations), rules, orders.append
            ),
        )
        app = application(routes(parts), parts.api_stats)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            yield Api(client, keys, pipe, ingest, parts, app, orders)


EVENT = {"type": "order.shipped", "to": {"users": ["alice"]}, "title": "Sent", "data": {"n": 1}}
