"""What all resources of the backend's own API have in common: who may, whom a path names, and what a body is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus.errors import BusError
from bus.event import Problem
from bus.naming import name_fault, topic_fault
from gateway.api.body import read_body, read_object
from gateway.api.keys import ApiKeys, Scope
from gateway.api.paths import ExactRoute
from gateway.api.problem import Kind, Refusal, unavailable

Answer = Response | Refusal
Object = dict[str, Any]
"""A JSON object, decoded."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and what its path names; empty where it names none."""

    request: Request
    user: str = ""
    topic: str = ""

    @property
    def query(self) -> QueryParams:
        """What stands behind the question mark."""
        return self.request.query_params


Handler = Callable[[Asked], Awaitable[Answer]]


def resource(keys: ApiKeys, path: str, handlers: Mapping[str, Handler]) -> Route:
    """A path for whose methods (GET, PUT …) an API key of scope admin is needed."""

    async def serve(request: Request) -> Response:
        known = keys.identify(request.headers, Scope.ADMIN)
        if isinstance(known, Refusal):
            return known.response()
        asked = _asked(request)
        if isinstance(asked, Refusal):
            return asked.response()
        try:
            answer = await handlers["GET" if request.method == "HEAD" else request.method](asked)
        except BusError:
            answer = unavailable("Redis did not confirm it. All of this can be repeated without harm.")
        return answer.response() if isinstance(answer, Refusal) else answer

    return ExactRoute(path, serve, methods=list(handlers))


def taking(handler: Callable[[Asked, Object], Awaitable[Answer]], limit: int = 65_536) -> Handler:
    """A handler of requests whose body is a JSON object of at most `limit` bytes."""

    async def handle(asked: Asked) -> Answer:
        body = await read_body(asked.request, limit)
        if isinstance(body, Refusal):
            return body
        raw = read_object(body)
        return raw if isinstance(raw, Refusal) else await handler(asked, raw)

    return handle


def _asked(request: Request) -> Asked | Refusal:
    named = request.path_params
    for what, check in (("user", name_fault), ("topic", topic_fault)):
        if what in named and (fault := check(named[what])):
            return Refusal(Kind.BAD_REQUEST, f"the {what} in the path {fault}")
    return Asked(request, named.get("user", ""), named.get("topic", ""))


def answer(body: Any, status: int = 200) -> Response:
    """JSON."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def nothing() -> Response:
    """204: done, and there is nothing to say about it."""
    return Response(status_code=204)


def refused(problems: Iterable[Problem]) -> Refusal:
    """A body with faults."""
    return Refusal(Kind.BAD_REQUEST, faults=tuple(problems))
