"""`POST /connection/http_stream`: the session of the client protocol over a streamed response of JSON lines.

The body has the commands that open it; each reply and push is one line. It is what the SDKs use in a browser that
lets a page read a response while it comes, before they fall back to SSE.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.problem import Kind, Refusal
from gateway.endpoint import Backend, Endpoint
from gateway.streamed import EmulatedConnection, Emulation
from gateway.wire.framing import Wire


class StreamConnection(EmulatedConnection):
    """One JSON object a line."""

    __slots__ = ()

    wire: Wire = Wire.STREAM
    preamble = b""


def routes(service: Backend) -> list[Route]:
    """The one route."""
    emulation = Emulation(service, StreamConnection, "application/json; charset=utf-8")

    async def connect(request: Request) -> Response | Refusal:
        if request.headers.get("content-type", "").startswith("application/octet-stream"):
            return Refusal(Kind.UNSUPPORTED_TYPE, "this is the protocol in Protobuf; only its JSON is spoken here")
        return await emulation.by_body(request)

    return [Route("/connection/http_stream", Endpoint(service, {"POST": connect}))]
