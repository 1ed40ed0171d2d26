"""The gateway's HTTP application: our own routes, and what holds for every route of anyone.

Nothing here decides by the Host header or by the URL that is rebuilt from it (CVE-2026-48710): routes match the path
as it came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bus.allowances import Allowances
from bus.clock import Clock
from bus.dead import Graveyard
from bus.keys import Keys
from bus.pipe import Pipe
from bus.producers import Producers
from gateway.api import events
from gateway.api.callbacks import Callbacks
from gateway.api.claims import Authenticate
from gateway.api.control import Operations
from gateway.api.dead import Dead
from gateway.api.events import Events
from gateway.api.keys import ApiKeys
from gateway.api.openapi import Documents
from gateway.api.ops import Ops, Probe
from gateway.api.problem import Kind, Refusal
from gateway.api.quota import SharedQuotas
from gateway.api.submission import MAX_BATCH
from gateway.api.ticket import Tickets
from gateway.api.topics import Members
from gateway.api.tracking import TrackingApi
from gateway.api.unsubscribe import Unsubscribing
from gateway.api.users import Users
from gateway.control import Control
from gateway.forgetting import Forgetting
from gateway.ingest import Ingest
from gateway.limits import Room
from gateway.metrics import ApiStats
from gateway.origins import Origins
from gateway.people import People
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.tracking import Tracking

SECURITY_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
}
"""On every answer, unless the endpoint set its own."""


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the API works with, put together in gateway/main.py."""

    settings: GatewaySettings
    clock: Clock
    keys: Keys
    pipe: Pipe
    ingest: Ingest
    stats: Stats
    authenticate: Authenticate
    probe: Probe
    people: People
    forgetting: Forgetting
    control: Control
    api_stats: ApiStats = field(default_factory=ApiStats)


def routes(parts: ApiParts) -> list[BaseRoute]:
    """Every endpoint of the API. Raises `BadSetting` when the API keys are not of their form."""
    settings = parts.settings
    allowances = Allowances(parts.pipe, parts.keys, parts.clock)
    accepting = Events(
        parts.ingest,
        ApiKeys(settings.api_keys),
        Producers(settings.producers),
        SharedQuotas(allowances, parts.clock, least=MAX_BATCH),
        parts.api_stats,
        body_limit=settings.body_bytes,
        room=Room(settings.posts, settings.post_bytes),
    )
    tickets = Tickets(parts.pipe, parts.keys, parts.authenticate, Origins(settings.allowed_origins))
    ops = Ops(parts.probe, parts.stats, parts.ingest.stats, parts.api_stats)
    documents = Documents(settings)
    tracking = Tracking(parts.pipe, parts.keys, parts.clock, settings.withdrawn_ttl)
    return [
        Route(events.PATH, accepting.post, methods=["POST"]),
        *TrackingApi(tracking, ApiKeys(settings.api_keys), parts.clock, parts.api_stats).routes(),
        *Users(parts.people, parts.forgetting, ApiKeys(settings.api_keys)).routes(),
        *Members(parts.people.followers, ApiKeys(settings.api_keys)).routes(),
        *Operations(parts.control, ApiKeys(settings.api_keys)).routes(),
        Unsubscribing(parts.people).route(),
        Callbacks(settings, parts.pipe, parts.keys).route(),
        *Dead(Graveyard(parts.pipe, parts.keys), ApiKeys(settings.api_keys)).routes(),
        tickets.route(),
        Route("/healthz", ops.healthz),
        Route("/readyz", ops.readyz),
        Route("/metrics", ops.metrics),
        Route("/openapi.json", documents.openapi),
        Route("/asyncapi.json", documents.asyncapi),
    ]


def application(all_routes: Sequence[BaseRoute], stats: ApiStats) -> ASGIApp:
    """One application of all routes, whose every error is a problem and whose every answer has the headers above."""
    app = Starlette(routes=all_routes, exception_handlers={HTTPException: _http_error, Exception: _bug})
    app.router.redirect_slashes = False  # a redirect would be built from the Host header
    return Guard(app, stats)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {"Allow": ", ".join(sorted(allow.split(", ")))} if (allow := (error.headers or {}).get("Allow")) else {}
    same = (kind for kind in Kind if kind.value.status == error.status_code)
    return Refusal(next(same, Kind.BAD_REQUEST), headers=headers).response()


async def _bug(request: Request, error: Exception) -> Response:
    return Refusal(Kind.INTERNAL).response()


class Guard:
    """Around everything, also around the answer to a bug: security headers, and a count of answers by status."""

    def __init__(self, app: ASGIApp, stats: ApiStats) -> None:
        self._app = app
        self._stats = stats

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._stats.requests[message["status"]] += 1
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, guarded)
