"""`POST /emulation`: what a client of the SSE and HTTP-streaming fallbacks says after its connect.

The request may reach any node; the one that holds the stream is named in it, and gets the message over the bus. So a
load balancer needs no sticky sessions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.body import read_body
from gateway.api.problem import Kind, Refusal, bad_request, unavailable
from gateway.endpoint import Backend, Endpoint

ESCAPED: Final = 2
"""How much longer a message becomes as a string within JSON, at most as clients write it: each quote is escaped."""
MAX_NAME: Final = 128
"""Longest session or node, in characters; ours are shorter."""
ANSWER_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Emulated:
    """A message of a client, and where its stream is."""

    session: str
    node: str
    message: bytes


def routes(service: Backend) -> list[Route]:
    """The one route."""

    async def emulate(request: Request) -> Response | Refusal:
        settings = service.settings
        body = await read_body(request, ESCAPED * settings.message_bytes, settings.connect_timeout)
        emulated = body if isinstance(body, Refusal) else parse(body, settings.message_bytes)
        if isinstance(emulated, Refusal):
            return emulated
        return await _pass_on(service, emulated)

    return [Route("/emulation", Endpoint(service, {"POST": emulate}))]


def parse(body: bytes, limit: int) -> Emulated | Refusal:
    """`{"session", "node", "data"}`; `data` is commands joined by line feeds, at most `limit` bytes of them."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError:
        return bad_request("is not valid JSON in UTF-8")
    if not isinstance(raw, dict):
        return bad_request("must be an object")
    for name in ("session", "node", "data"):
        if not isinstance(raw.get(name), str) or not raw[name]:
            return bad_request("must be a string that is not empty", f"/{name}")
        if name != "data" and len(raw[name]) > MAX_NAME:
            return bad_request(f"must have at most {MAX_NAME} characters", f"/{name}")
    message = raw["data"].encode()
    if len(message) > limit:
        return Refusal(Kind.TOO_LARGE, f"data may have at most {limit} bytes")
    return Emulated(raw["session"], raw["node"], message)


async def _pass_on(service: Backend, emulated: Emulated) -> Response | Refusal:
    found: asyncio.Future[bool | None] = asyncio.get_running_loop().create_future()

    def done(exists: bool | None) -> None:
        if not found.done():
            found.set_result(exists)

    service.emulate(emulated.session, emulated.node, emulated.message, done)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            exists = await found
    except TimeoutError:
        exists = None
    if exists is None:
        return unavailable("the stream's node cannot be reached now")
    return Response(status_code=204) if exists else Refusal(Kind.NOT_FOUND, "no such session: connect again")
