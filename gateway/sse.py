"""`/connection/sse`: the session of the client protocol over Server-Sent Events, for where WebSockets do not pass.

The commands that open it come as `?cf_connect=` of a GET, which is all that an EventSource can send, or as the body of
a POST. Each reply is one event. The SDKs come back by themselves and recover in `connect`, so events have no ids here.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.problem import Kind, Refusal
from gateway.endpoint import Backend, Endpoint
from gateway.streamed import EmulatedConnection, Emulation
from gateway.wire.framing import Wire, chunk


class SseConnection(EmulatedConnection):
    """`data: {json}` and an empty line for each reply and push."""

    __slots__ = ()

    wire: Wire = Wire.SSE
    preamble = chunk(b"\r\n")
    """As other servers of the protocol do, for proxies that hold a response back until its body begins."""


def routes(service: Backend) -> list[Route]:
    """The one route."""
    emulation = Emulation(service, SseConnection, "text/event-stream; charset=utf-8")

    async def by_query(request: Request) -> Response | Refusal:
        commands = commands_of(request, service.settings.message_bytes)
        return commands if isinstance(commands, Refusal) else emulation.open(request, commands)

    return [Route("/connection/sse", Endpoint(service, {"GET": by_query, "POST": emulation.by_body}))]


def commands_of(request: Request, limit: int) -> bytes | Refusal:
    """What `cf_connect` of the query has, at most `limit` bytes of it."""
    given = request.query_params.getlist("cf_connect")
    if len(given) != 1 or not given[0]:
        return Refusal(Kind.BAD_REQUEST, "the query must have cf_connect once, with the commands to begin with")
    commands = given[0].encode()
    if len(commands) > limit:
        return Refusal(Kind.TOO_LARGE, f"cf_connect may have at most {limit} bytes")
    return commands
