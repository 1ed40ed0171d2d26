"""An HTTP endpoint that pages of other sites may call: who may, by which method, and how much it may send.

Every answer carries the headers of CORS (WHATWG Fetch §3.2), so that a page can also read why it was refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bus.cursor import Cursor
from bus.namespaces import Namespaces
from gateway.api.problem import Kind, Refusal
from gateway.connection import Connection
from gateway.effects import Claims, Denied, Failed, Verified
from gateway.transport import Application

Handler = Callable[[Request], Awaitable[Response | Refusal]]

PREFLIGHT_SECONDS: Final = "7200"
ALLOWED_HEADERS: Final = "Authorization, Content-Type, Last-Event-ID"


class OriginRule(Protocol):
    """Which pages may call. See `gateway.service.Service`."""

    def origin_allowed(self, origin: str | None, host: str) -> bool: ...


class Backend(Application, OriginRule, Protocol):
    """What the HTTP transports need of the service behind them. See `gateway.service.Service`."""

    @property
    def namespaces(self) -> Namespaces: ...
    def authenticate(self, token: str, on_answer: Callable[[Verified | Denied | Failed], None]) -> None: ...
    def emulate(self, session: str, node: str, message: bytes, on_done: Callable[[bool | None], None]) -> None: ...
    def open_events(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None: ...


class Endpoint:
    """One path, as an ASGI application: a handler for each method, and a refusal for every other."""

    def __init__(self, service: OriginRule, handlers: Mapping[str, Handler]) -> None:
        self._service, self._handlers = service, handlers
        self._methods = ", ".join((*handlers, "OPTIONS"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        answer = await self._answer(request)
        response = answer.response() if isinstance(answer, Refusal) else answer
        response.headers.update(cors(request, self._service))
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response | Refusal:
        if not origin_allowed(request, self._service):
            return Refusal(Kind.FORBIDDEN, "the page's origin is not among allowed_origins")
        if request.method == "OPTIONS":
            return self._preflight()
        handler = self._handlers.get(request.method)
        if handler is None:
            return Refusal(Kind.METHOD_NOT_ALLOWED, f"use {self._methods}", headers={"Allow": self._methods})
        return await handler(request)

    def _preflight(self) -> Response:
        headers = {
            "Access-Control-Allow-Methods": self._methods,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_SECONDS,
        }
        return Response(status_code=204, headers=headers)


def origin_allowed(request: Request, service: OriginRule) -> bool:
    """Whether the page that sent the request may; a request that names several origins is nobody's."""
    origins = request.headers.getlist("origin")
    return len(origins) < 2 and service.origin_allowed(origins[0] if origins else None, request.headers.get("host", ""))


def cors(request: Request, service: OriginRule) -> dict[str, str]:
    """The headers that let a page of an allowed origin read the answer."""
    headers = {"Vary": "Origin"}
    if (origin := request.headers.get("origin")) and origin_allowed(request, service):
        headers["Access-Control-Allow-Origin"] = origin
    return headers
