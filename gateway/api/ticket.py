"""`POST /v1/ticket`: a token in a header for a ticket that may stand in a URL, once and soon."""

from __future__ import annotations

from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from gateway.api.claims import Authenticate, claims_of
from gateway.api.keys import bearer, unauthenticated
from gateway.api.problem import Refusal, unavailable
from gateway.endpoint import Endpoint
from gateway.origins import Origins
from gateway.tickets import PREFIX, TTL, digest, is_ticket, pack

PATH: Final = "/v1/ticket"
MAX_TOKEN: Final = 8_192
"""Longest token looked at, in characters."""


@dataclass(frozen=True, slots=True)
class Pages:
    """Which pages may ask for a ticket: those that may connect with it."""

    origins: Origins

    def origin_allowed(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may."""
        return self.origins.allowed(origin, host)


class Tickets:
    """The endpoint."""

    def __init__(self, pipe: Pipe, keys: Keys, authenticate: Authenticate, origins: Origins) -> None:
        self._pipe = pipe
        self._keys = keys
        self._authenticate = authenticate
        self._pages = Pages(origins)

    def route(self) -> Route:
        """Its route, open to pages of other sites."""
        return Route(PATH, Endpoint(self._pages, {"POST": self.post}))

    async def post(self, request: Request) -> Response | Refusal:
        """Give a ticket for the token in `Authorization: Bearer`."""
        token = bearer(request.headers)
        if token is None or len(token) > MAX_TOKEN or is_ticket(token):
            return unauthenticated("give a token as Authorization: Bearer")
        claims = await claims_of(token, self._authenticate)
        if isinstance(claims, Refusal):
            return claims
        ticket = PREFIX + token_urlsafe(32)
        try:
            await self._pipe.ask("SET", self._keys.ticket(digest(ticket)), pack(claims), "EX", TTL, "NX")
        except BusError:
            return unavailable("tickets cannot be kept now")
        return JSONResponse({"ticket": ticket, "expires_in": TTL})
