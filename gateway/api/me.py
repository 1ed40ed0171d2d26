"""`/v1/me/…`: the procedures over HTTP, for whom the token names. Parameters and results are those of the calls.

The parameters are the JSON object in the body, or the query of a GET; a name in the path is one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.body import read_body, read_object
from gateway.api.claims import Authenticate, claims_of
from gateway.api.keys import bearer, unauthenticated
from gateway.api.problem import Kind, Refusal, unavailable
from gateway.endpoint import Endpoint, Handler, OriginRule
from gateway.procedures import Caller, Fault, Params, Procedures, Wrong
from gateway.tickets import is_ticket

PREFIX: Final = "/v1/me"
MAX_TOKEN: Final = 8_192
"""Longest token looked at, in characters."""
MAX_BODY: Final = 65_536
"""Largest body, in bytes: as much as a call may have."""

PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "/inbox": {"GET": "inbox.list"},
    "/inbox/count": {"GET": "inbox.count"},
    "/read": {"POST": "read"},
    "/unread": {"POST": "unread"},
    "/archive": {"POST": "archive"},
    "/unarchive": {"POST": "unarchive"},
    "/seen": {"POST": "seen"},
    "/ack": {"POST": "ack"},
    "/preferences": {"GET": "prefs.get", "PATCH": "prefs.set"},
    "/devices": {"GET": "devices.list", "POST": "devices.add"},
    "/devices/key": {"GET": "devices.key"},
    "/devices/{id}": {"DELETE": "devices.remove"},
    "/topics": {"GET": "topics.list"},
    "/topics/{topic:path}": {"PUT": "topics.follow", "DELETE": "topics.unfollow"},
}
"""Path below `PREFIX` → HTTP method → procedure. A GET changes nothing."""

KINDS: Final = {
    Wrong.BAD_PARAMS: Kind.BAD_REQUEST,
    Wrong.FORBIDDEN: Kind.FORBIDDEN,
    Wrong.NOT_FOUND: Kind.NOT_FOUND,
    Wrong.LIMIT: Kind.FORBIDDEN,
    Wrong.BUSY: Kind.TOO_MANY_REQUESTS,
    Wrong.NOT_CONFIGURED: Kind.NOT_CONFIGURED,
    Wrong.UNAVAILABLE: Kind.UNAVAILABLE,
    Wrong.UNKNOWN: Kind.NOT_FOUND,
}
"""What a fault is over HTTP."""


def routes(procedures: Procedures, authenticate: Authenticate, origins: OriginRule) -> list[Route]:
    """A route for each path, open to the pages that may connect."""
    twins = _Twins(procedures, authenticate)
    return [
        Route(PREFIX + path, Endpoint(origins, {method: twins.handler(name) for method, name in methods.items()}))
        for path, methods in PATHS.items()
    ]


class _Twins:
    """Makes the handler of each procedure."""

    def __init__(self, procedures: Procedures, authenticate: Authenticate) -> None:
        self._procedures, self._authenticate = procedures, authenticate

    def handler(self, name: str) -> Handler:
        """Asks who it is, reads the parameters, and answers with what the procedure says."""

        async def handle(request: Request) -> Response | Refusal:
            token = bearer(request.headers)
            if token is None or len(token) > MAX_TOKEN or is_ticket(token):
                return unauthenticated("give a token as Authorization: Bearer")
            claims = await claims_of(token, self._authenticate)
            if isinstance(claims, Refusal):
                return claims
            params = await _params(request)
            if isinstance(params, Refusal):
                return params
            answer = await self._procedures.call(Caller(claims.user, granted=claims.topics), name, params)
            if isinstance(answer, Fault):
                return refusal(answer)
            return Response(orjson.dumps(answer), media_type="application/json")

        return handle


async def _params(request: Request) -> Params | Refusal:
    named = request.path_params
    if request.method == "GET":
        return {**{name: _plain(value) for name, value in request.query_params.items()}, **named}
    body = await read_body(request, MAX_BODY)
    if isinstance(body, Refusal):
        return body
    params = read_object(body) if body else {}
    return params if isinstance(params, Refusal) else {**params, **named}


def _plain(value: str) -> str | int:
    """A value of a query, which has no types: digits are a number."""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else value


def refusal(fault: Fault) -> Refusal:
    """A fault as the answer to a request."""
    if fault.kind is Wrong.UNAVAILABLE:
        return unavailable(fault.detail)
    headers = {"Retry-After": "1"} if fault.kind is Wrong.BUSY else {}
    return Refusal(KINDS[fault.kind], fault.detail, fault.faults, headers)
