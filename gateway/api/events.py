"""`POST /v1/events`: whose request it is, what it says, and what became of each event.

The order of the checks is that of their cost: a stranger is turned away before the body is read.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from types import MappingProxyType
from typing import Final, assert_never

from starlette.requests import Request
from starlette.responses import Response

from bus.allowance import Limit
from bus.errors import BusError, Refused, Unconfirmed
from bus.event import Event, Invalid, Problem
from bus.producers import Producers
from gateway.api.answer import AWAY, CROWDED, UNCONFIRMED, Answer, answer, results
from gateway.api.body import announced, read_body
from gateway.api.idempotency import HEADER, REPLAY, fingerprint, key_of
from gateway.api.keys import ApiKeys, Producer, Scope
from gateway.api.problem import RETRY_AFTER_OUTAGE, RETRY_AFTER_OVERLOAD, Kind, Refusal, unavailable
from gateway.api.quota import SharedQuotas
from gateway.api.submission import Form, Submission, durability_of, form_of, read_submission
from gateway.ingest import (
    Accepted,
    Answered,
    Begun,
    Busy,
    Durability,
    IdempotentRequest,
    Ingest,
    New,
    OtherBody,
    error_name,
)
from gateway.limits import Room
from gateway.metrics import ApiStats

PATH: Final = "/v1/events"
ROUTE: Final = f"POST {PATH}"

log = logging.getLogger(__name__)


class Events:
    """The endpoint. `body_limit` is bytes."""

    def __init__(
        self,
        ingest: Ingest,
        keys: ApiKeys,
        producers: Producers,
        quotas: SharedQuotas,
        stats: ApiStats,
        *,
        body_limit: int,
        room: Room,
    ) -> None:
        self._ingest = ingest
        self._keys, self._producers = keys, producers
        self._quotas = quotas
        self._stats = stats
        self._body_limit, self._room = body_limit, room

    async def post(self, request: Request) -> Response:
        """Accept events."""
        producer = self._keys.identify(request.headers, Scope.EVENTS)
        if isinstance(producer, Refusal):
            return self._refuse(producer)
        if self._ingest.pressure.full and HEADER not in request.headers:
            return self._refuse(unavailable(CROWDED, RETRY_AFTER_OVERLOAD))
        size = announced(request, self._body_limit)
        if not self._room.take(size):
            return self._refuse(unavailable(CROWDED))
        try:
            return await self._post(request, producer)
        finally:
            self._room.release(size)

    async def _post(self, request: Request, producer: Producer) -> Response:
        quota = await self._take(producer, 1)
        if isinstance(quota, Refusal):
            return self._refuse(quota)
        served = await self._serve(request, producer)
        response = self._refuse(served) if isinstance(served, Refusal) else served
        for name, value in quota.items():
            response.headers.setdefault(name, value)
        return response

    async def _serve(self, request: Request, producer: Producer) -> Response | Refusal:
        head = _head(request)
        if isinstance(head, Refusal):
            return head
        form, key, durability = head
        body = await read_body(request, self._body_limit)
        if isinstance(body, Refusal):
            return body
        once = None
        if key is not None:
            # Who asks for more than before has not been answered yet.
            said = f"{form.value} {durability.value}" if durability else form.value
            once = IdempotentRequest(producer.name, ROUTE, key, fingerprint(said, request.headers, body))

        def read(raw: object, index: int) -> Event | Invalid:
            event_id = once.event_id(index) if once else token_hex(16)
            event = self._ingest.read(raw, producer=producer.name, default_id=event_id)
            if isinstance(event, Event) and not producer.may_send(event.source):
                return Invalid((Problem("/source", "is not among the sources of this API key"),))
            return event

        submission = read_submission(form, request.headers, body, self._body_limit, read)
        if isinstance(submission, Refusal):
            return submission
        return await self._submit(submission, producer, once, durability)

    async def _submit(
        self,
        submission: Submission,
        producer: Producer,
        once: IdempotentRequest | None,
        durability: Durability | None,
    ) -> Response | Refusal:
        events = [(i, item) for i, item in enumerate(submission.items) if isinstance(item, Event)]
        if isinstance(quota := await self._take(producer, len(submission.items) - 1), Refusal):
            return quota
        if not events:
            # Nothing can have an effect, so the key is not used up and may come again with a better body.
            return _response(self._answer(submission, ()))
        if once is not None:
            return await self._submit_once(submission, events, producer, once, durability)
        outcomes = await self._ingest.accept([event for _, event in events], producer.name, durability)
        return _response(self._answer(submission, outcomes))

    async def _submit_once(
        self,
        submission: Submission,
        events: Sequence[tuple[int, Event]],
        producer: Producer,
        once: IdempotentRequest,
        durability: Durability | None,
    ) -> Response | Refusal:
        if not isinstance(begun := await self._begin(once, [event for _, event in events]), New):
            return begun
        outcomes = await self._ingest.accept_once(once, events, producer.name, durability)
        if failed := [outcome for outcome in outcomes if isinstance(outcome, BusError)]:
            self._complain(outcomes)
            stored = all(isinstance(error, Unconfirmed) for error in failed)
            return unavailable(UNCONFIRMED if stored else AWAY)  # a repeat finishes what this began
        made = self._answer(submission, outcomes)
        with suppress(BusError):  # the events are in; a repeat finds their markers and answers the same
            await self._ingest.finish(once, made.pack())
        return _response(made)

    async def _begin(self, once: IdempotentRequest, events: Sequence[Event]) -> New | Response | Refusal:
        """The right to work on a request, or the answer to it."""
        begun: Begun | None
        try:
            if self._ingest.refuses(events):
                # Nothing is begun, or the repeat would find it in progress; but who was answered is answered again.
                begun = await self._ingest.remembered(once)
            else:
                begun = await self._ingest.begin(once)
        except BusError as error:
            self._complain((error,))
            return unavailable(AWAY)
        match begun:
            case None:
                self._ingest.refused()
                return unavailable(CROWDED, RETRY_AFTER_OVERLOAD)
            case Busy():
                return Refusal(Kind.IN_PROGRESS, headers={"Retry-After": "1"})
            case OtherBody():
                return Refusal(Kind.OTHER_BODY)
            case Answered(packed):
                return _response(Answer.unpack(packed), {REPLAY: "true"})
            case New():
                return begun
            case _:
                assert_never(begun)

    def _answer(self, submission: Submission, outcomes: Sequence[Accepted]) -> Answer:
        self._complain(outcomes)
        found = results(submission, outcomes)
        self._stats.refused.update(result.kind.value.slug for result in found if isinstance(result, Refusal))
        return answer(found, submission.single)

    async def _take(self, producer: Producer, amount: int) -> dict[str, str] | Refusal:
        limit = self._producers.own(producer.name) or Limit(producer.rate, producer.rate)
        verdict = await self._quotas.take(producer.name, limit, amount)
        if verdict.wait:
            return Refusal(Kind.TOO_MANY_REQUESTS, headers=verdict.headers())
        return verdict.headers()

    def _refuse(self, refusal: Refusal) -> Response:
        self._stats.refused[refusal.kind.value.slug] += 1
        return refusal.response()

    def _complain(self, outcomes: Sequence[Accepted]) -> None:
        """An outage shows in the metrics and in readiness; what waiting does not cure is worth a line of its own."""
        for code in {error_name(o) for o in outcomes if isinstance(o, Refused) and not o.passing}:
            log.error("Redis refuses to take events", extra={"code": code})


def _head(request: Request) -> tuple[Form, str | None, Durability | None] | Refusal:
    """What a request says before its body: the body's form, its Idempotency-Key, and when it counts as accepted."""
    form, key = form_of(request.headers), key_of(request.headers)
    durability = durability_of(request.query_params)
    if isinstance(form, Refusal):
        return form
    if isinstance(key, Refusal):
        return key
    return durability if isinstance(durability, Refusal) else (form, key, durability)


def _response(made: Answer, headers: Mapping[str, str] = MappingProxyType({})) -> Response:
    response = Response(made.body, made.status, dict(headers), made.media)
    if made.status == Kind.UNAVAILABLE.value.status:
        response.headers["Retry-After"] = str(RETRY_AFTER_OUTAGE)
    return response
