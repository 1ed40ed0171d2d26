"""`/v1/events/{id}`: what became of an event, for all and for one person, why, and its withdrawal.

An event is named by its source and id; `?source=` is left out where it is the name of the API key. Withdrawing an
event that is not known is no fault: it may be on its way, and is refused when it comes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from bus.clock import Clock
from bus.errors import BusError
from bus.event import Problem as Fault
from bus.naming import name_fault
from gateway.api.answer import JSON
from gateway.api.explain import explain
from gateway.api.keys import ApiKeys, Producer, Scope
from gateway.api.paths import ExactRoute
from gateway.api.problem import Kind, Refusal, unavailable
from gateway.api.quota import Quotas
from gateway.api.submission import MAX_BATCH
from gateway.metrics import ApiStats
from gateway.tracking import Tracking

PATH: Final = "/v1/events/{id}"
EXPLAIN: Final = "/v1/events/{id}/explain"
COST: Final = 10
"""What a question counts against the key's rate, in events: it looks into every partition."""
AWAY: Final = "Redis did not answer. Repeat the request: nothing of it has an effect twice."
UNKNOWN: Final = (
    "nothing is known of an event of this source and id: it was never accepted, was ephemeral, was forgotten, or is "
    "just being worked"
)
FOREIGN: Final = "this API key asks about events of its own name, and of those that its settings list as `sources`"

Serve = Callable[["Asked"], Awaitable[dict[str, Any] | Refusal]]


@dataclass(frozen=True, slots=True)
class Asked:
    """Which event, and who in particular."""

    id: str
    source: str
    user: str | None


class TrackingApi:
    """The endpoints."""

    def __init__(self, tracking: Tracking, keys: ApiKeys, clock: Clock, stats: ApiStats) -> None:
        self._tracking, self._keys, self._clock, self._stats = tracking, keys, clock, stats
        self._quotas = Quotas(least=MAX_BATCH)

    def routes(self) -> list[BaseRoute]:
        """Ids may hold slashes, so that of an explanation goes first; `a%2Fexplain` is an id."""
        return [
            ExactRoute(EXPLAIN.replace("{id}", "{id:path}"), self.explained, methods=["GET"]),
            ExactRoute(PATH.replace("{id}", "{id:path}"), self.one, methods=["GET", "DELETE"]),
        ]

    async def one(self, request: Request) -> Response:
        """GET: what became of it; DELETE: withdraw it."""
        return await self._serve(request, self._withdraw if request.method == "DELETE" else self._track)

    async def explained(self, request: Request) -> Response:
        """Why a person did or did not get it."""
        return await self._serve(request, self._explain)

    async def _serve(self, request: Request, serve: Serve) -> Response:
        if not request.path_params["id"]:
            return self._refuse(Refusal(Kind.NOT_FOUND))
        producer = self._keys.identify(request.headers, Scope.EVENTS)
        if isinstance(producer, Refusal):
            return self._refuse(producer)
        verdict = self._quotas.take(producer.name, producer.rate, COST, self._clock.monotonic())
        if verdict.wait:
            return self._refuse(Refusal(Kind.TOO_MANY_REQUESTS, headers=verdict.headers()))
        asked = _asked(request, producer)
        answer = asked if isinstance(asked, Refusal) else await self._answer(asked, serve)
        if isinstance(answer, Refusal):
            return self._refuse(answer)
        return Response(orjson.dumps(answer), 200, verdict.headers(), JSON)

    async def _answer(self, asked: Asked, serve: Serve) -> dict[str, Any] | Refusal:
        try:
            return await serve(asked)
        except BusError:
            return unavailable(AWAY)

    def _refuse(self, refusal: Refusal) -> Response:
        self._stats.refused[refusal.kind.value.slug] += 1
        return refusal.response()

    # What is asked -----------------------------------------------------------------------------------------------

    async def _withdraw(self, asked: Asked) -> dict[str, Any] | Refusal:
        recipients = await self._tracking.withdraw(asked.source, asked.id)
        return {"id": asked.id, "source": asked.source, "withdrawn": True, "recipients": recipients}

    async def _track(self, asked: Asked) -> dict[str, Any] | Refusal:
        event = await self._tracking.whole(asked.source, asked.id)
        if not event.known:
            return Refusal(Kind.NOT_FOUND, UNKNOWN)
        if asked.user is None:
            return event.shown()
        person = await self._tracking.person(asked.source, asked.id, asked.user)
        return event.shown() | {"recipient": person.shown()}

    async def _explain(self, asked: Asked) -> dict[str, Any] | Refusal:
        if asked.user is None:
            return Refusal(Kind.BAD_REQUEST, "say whom it is about, as in ?user=alice")
        event = await self._tracking.whole(asked.source, asked.id)
        if not event.known:
            return Refusal(Kind.NOT_FOUND, UNKNOWN)
        person = await self._tracking.person(asked.source, asked.id, asked.user)
        if event.given and not person.given:
            # Others were given it: perhaps it was buried for this person alone.
            event = await self._tracking.look_for(event)
        told = explain(event, person, self._clock.wall())
        return {"id": event.id, "source": event.source, "user": person.user, **told.shown()}


def _asked(request: Request, producer: Producer) -> Asked | Refusal:
    query = request.query_params
    asked = Asked(request.path_params["id"], query.get("source", producer.name), query.get("user"))
    named = (("id", asked.id), ("source", asked.source), ("user", asked.user))
    faults = [
        Fault("", f"{name} {fault}") for name, value in named if value is not None and (fault := name_fault(value))
    ]
    if faults:
        return Refusal(Kind.BAD_REQUEST, faults=tuple(faults))
    return asked if producer.may_ask(asked.source) else Refusal(Kind.FORBIDDEN, FOREIGN)
