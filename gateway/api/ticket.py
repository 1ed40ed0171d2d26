"""`POST /v1/ticket`: a token in a header for a ticket that may stand in a URL, once and soon."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from secrets import token_urlsafe
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from gateway.api.keys import bearer, unauthenticated
from gateway.api.problem import Refusal, unavailable
from gateway.effects import Claims, Denied, Failed, Verified
from gateway.tickets import PREFIX, TTL, digest, is_ticket, pack
from gateway.wire.codes import Error

PATH: Final = "/v1/ticket"
MAX_TOKEN: Final = 8_192
"""Longest token looked at, in characters."""

Authenticate = Callable[[str, Callable[[Verified | Denied | Failed], None]], None]
"""What a token grants, told by a callback."""


class Tickets:
    """The endpoint."""

    def __init__(self, pipe: Pipe, keys: Keys, authenticate: Authenticate) -> None:
        self._pipe = pipe
        self._keys = keys
        self._authenticate = authenticate

    async def post(self, request: Request) -> Response:
        """Give a ticket for the token in `Authorization: Bearer`."""
        token = bearer(request.headers)
        if token is None or len(token) > MAX_TOKEN or is_ticket(token):
            return unauthenticated("give a token as Authorization: Bearer").response()
        claims = await self._claims(token)
        if isinstance(claims, Refusal):
            return claims.response()
        ticket = PREFIX + token_urlsafe(32)
        try:
            await self._pipe.ask("SET", self._keys.ticket(digest(ticket)), pack(claims), "EX", TTL, "NX")
        except BusError:
            return unavailable("tickets cannot be kept now").response()
        return JSONResponse({"ticket": ticket, "expires_in": TTL})

    async def _claims(self, token: str) -> Claims | Refusal:
        answered: asyncio.Future[Verified | Denied | Failed] = asyncio.get_running_loop().create_future()
        self._authenticate(token, lambda answer: None if answered.done() else answered.set_result(answer))
        answer = await answered
        if isinstance(answer, Verified):
            return answer.claims
        if isinstance(answer.error, Error) and answer.error.value.temporary:
            return unavailable("tokens cannot be checked now")
        expired = answer.error is Error.TOKEN_EXPIRED
        return unauthenticated("the token has expired" if expired else "the token is not accepted here")
