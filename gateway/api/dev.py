"""What only a development gateway serves: the demo page, tokens for it, and its real feed.

Anyone who reaches these endpoints may be anyone, so they answer this machine's own pages alone: the Host must be an
address or localhost, which no other site's name is even when it resolves here, and the Origin must be the same.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import PathLike, StaticFiles

from bus.clock import Clock
from bus.errors import BusError
from bus.event import MAX_EVENT_BYTES, Invalid
from bus.naming import name_fault
from gateway.api.body import read_body
from gateway.api.price_feed import FeedOptions, PriceFeed
from gateway.api.problem import Kind, Refusal, bad_request, unavailable
from gateway.ingest import Ingest, Position, TooLarge
from gateway.mint import mint
from gateway.origins import Origins
from gateway.settings import GatewaySettings

WEB: Final = Path(__file__).parents[2] / "web"
SHOWN: Final = ("client", "demo", "admin")
"""The folders of `web/` that are pages; the rest is for building and testing them."""
PRODUCER: Final = "dev"
TOKEN_TTL: Final = 3600
SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

MAILS: Final = {
    **SECURITY,
    # Mails bring their looks in style attributes; the frame that shows one is held to this policy as well as its own.
    "content-security-policy": SECURITY["content-security-policy"].replace(
        "style-src 'self'", "style-src 'self' 'unsafe-inline'"
    ),
}
OF_PAGE: Final = {"mailbox.html": MAILS}
"""Headers of pages that need others than `SECURITY`."""


@dataclass(frozen=True, slots=True)
class DevParts:
    """What the development endpoints work with."""

    settings: GatewaySettings
    clock: Clock
    ingest: Ingest
    feed: PriceFeed


def routes(parts: DevParts) -> list[BaseRoute]:
    """The page at `/`, its files under `/web/`, and `/dev/…`. To be mounted with `settings.dev` only."""
    dev = _Dev(parts)
    guarded: dict[str, dict[str, Handler]] = {
        "/dev/token": {"GET": dev.token},
        "/dev/publish": {"POST": dev.publish},
        "/dev/feed": {"GET": dev.feed, "POST": dev.start_feed, "DELETE": dev.stop_feed},
    }
    return [
        Route("/", _page, methods=["GET"]),
        Mount("/web", Web(directory=WEB, html=True, check_dir=False)),
        *(
            Route(path, guard(handler, parts.settings), methods=[method])
            for path, handlers in guarded.items()
            for method, handler in handlers.items()
        ),
    ]


# The page --------------------------------------------------------------------------------------------------------


class Web(StaticFiles):
    """The pages' files, under a policy that lets them run nothing but themselves."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return super().lookup_path(path) if Path(path).parts[:1] and Path(path).parts[0] in SHOWN else ("", None)

    def file_response(self, full_path: PathLike, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(full_path, *args, **kwargs)
        response.headers.update(OF_PAGE.get(Path(os.fspath(full_path)).name, SECURITY))
        return response


async def _page(_: Request) -> Response:
    # A redirect, so that the page's relative addresses are those of its folder.
    return RedirectResponse("/web/demo/", headers=SECURITY)


# Who may ask -----------------------------------------------------------------------------------------------------

Handler = Callable[[Request], Awaitable[Response]]


def guard(handler: Handler, settings: GatewaySettings) -> Handler:
    """The handler, for those who may ask."""

    async def guarded(request: Request) -> Response:
        if not is_own(request.headers, settings.host):
            return Refusal(Kind.FORBIDDEN, "development endpoints answer pages of this gateway only").response()
        try:
            return await handler(request)
        except BusError:
            return unavailable("Redis does not take it now").response()

    return guarded


def is_own(headers: Mapping[str, str], listens_on: str) -> bool:
    """Whether a request comes from our own page, or from no page at all, and by no name of another site."""
    host = headers.get("host", "")
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if not _is_local(name.strip("[]")) and name != listens_on:
        return False
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    return Origins(()).allowed(headers.get("origin"), host)


def _is_local(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


# The endpoints ---------------------------------------------------------------------------------------------------


async def _json_body(request: Request) -> object | Refusal:
    body = await read_body(request, MAX_EVENT_BYTES)
    if isinstance(body, Refusal):
        return body
    try:
        return orjson.loads(body or b"{}")  # type: ignore[no-any-return]
    except orjson.JSONDecodeError:
        return bad_request("is not valid JSON in UTF-8")


class _Dev:
    def __init__(self, parts: DevParts) -> None:
        self._parts = parts

    async def token(self, request: Request) -> Response:
        user = request.query_params.get("user", "")
        if fault := name_fault(user):
            return bad_request(f"the parameter user {fault}").response()
        settings = self._parts.settings
        token = mint(
            settings.token_secret,
            user=user,
            issuer=settings.token_issuer,
            audience=settings.token_audience,
            now=self._parts.clock.wall(),
            ttl=TOKEN_TTL,
            info={"name": user},
        )
        return JSONResponse({"token": token, "expires_in": TOKEN_TTL}, headers={"cache-control": "no-store"})

    async def publish(self, request: Request) -> Response:
        raw = await _json_body(request)
        if isinstance(raw, Refusal):
            return raw.response()
        event = self._parts.ingest.read(raw, producer=PRODUCER, default_id=token_hex(16))
        if isinstance(event, Invalid):
            return Refusal(Kind.INVALID_EVENT, faults=event.problems).response()
        match (await self._parts.ingest.accept([event], PRODUCER))[0]:
            case Position(partition, position):
                return JSONResponse({"id": event.id, "partition": partition, "position": position}, 202)
            case TooLarge():
                return Refusal(Kind.TOO_LARGE, f"an event has at most {MAX_EVENT_BYTES} bytes").response()
            case error:
                raise error

    async def feed(self, _: Request) -> Response:
        return JSONResponse(await self._parts.feed.status())

    async def start_feed(self, request: Request) -> Response:
        raw = await _json_body(request)
        options = raw if isinstance(raw, Refusal) else FeedOptions.read(raw)
        if isinstance(options, Refusal):
            return options.response()
        return JSONResponse(await self._parts.feed.start(options), 202)

    async def stop_feed(self, _: Request) -> Response:
        return JSONResponse(await self._parts.feed.stop())
