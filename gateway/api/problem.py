"""Errors over HTTP: a closed set of problems, each answered as `application/problem+json` (RFC 9457).

What a request contained is never repeated in an answer; faults are given as places (RFC 6901 pointers) and rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

import orjson
from starlette.responses import Response

from bus.event import Problem as Fault

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:problem-type:tocsin:"
RETRY_AFTER_OUTAGE: Final = 1
"""Seconds after which to come back when Redis is away."""

RETRY_AFTER_OVERLOAD: Final = 5
"""The same when more waits than can be taken in."""


@dataclass(frozen=True, slots=True)
class KindInfo:
    """`slug` ends the problem's type, which never changes; `title` is for people."""

    slug: str
    status: int
    title: str


class Kind(Enum):
    """Every problem there is."""

    BAD_REQUEST = KindInfo("bad-request", 400, "The request is not of the form this resource takes")
    INVALID_EVENT = KindInfo("invalid-event", 400, "An event breaks the rules of its fields")
    UNAUTHENTICATED = KindInfo("unauthenticated", 401, "No credentials, or none that are known here")
    FORBIDDEN = KindInfo("forbidden", 403, "These credentials do not reach so far")
    NOT_FOUND = KindInfo("not-found", 404, "There is nothing here")
    METHOD_NOT_ALLOWED = KindInfo("method-not-allowed", 405, "This resource has no such method")
    TIMEOUT = KindInfo("timeout", 408, "The body did not come in time")
    IN_PROGRESS = KindInfo("in-progress", 409, "A request with this Idempotency-Key is in progress")
    TOO_LARGE = KindInfo("too-large", 413, "The body, or an event in it, is too large")
    UNSUPPORTED_TYPE = KindInfo("unsupported-type", 415, "The body is of a type this resource does not take")
    OTHER_BODY = KindInfo("other-body", 422, "This Idempotency-Key came before with another body")
    TOO_MANY_REQUESTS = KindInfo("too-many-requests", 429, "More than these credentials may send")
    INTERNAL = KindInfo("internal", 500, "Something is wrong on our side")
    NOT_CONFIGURED = KindInfo("not-configured", 501, "This installation is not set up for it")
    UNAVAILABLE = KindInfo("unavailable", 503, "This cannot be done now; come back")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request, or one event of it, is not served."""

    kind: Kind
    detail: str = ""
    faults: tuple[Fault, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, Any] = field(default_factory=dict)
    """Further members of the answer (RFC 9457 §3.2)."""

    def body(self) -> dict[str, Any]:
        """The problem as JSON, absent members left out."""
        info = self.kind.value
        out: dict[str, Any] = {"type": TYPE_PREFIX + info.slug, "title": info.title, "status": info.status}
        if self.detail:
            out["detail"] = self.detail
        if self.faults:
            out["errors"] = [{"pointer": fault.pointer, "message": fault.message} for fault in self.faults]
        return {**out, **self.members}

    def response(self) -> Response:
        """The problem as an answer."""
        return Response(orjson.dumps(self.body()), self.kind.value.status, dict(self.headers), MEDIA_TYPE)

    def beneath(self, pointer: str) -> Refusal:
        """The same with its faults placed under `pointer`, where the event stands in the body."""
        return replace(self, faults=placed(self.faults, pointer))


def placed(faults: Iterable[Fault], pointer: str) -> tuple[Fault, ...]:
    """Faults of a part as faults of the whole."""
    return tuple(replace(fault, pointer=pointer + fault.pointer) for fault in faults)


def bad_request(message: str, pointer: str = "") -> Refusal:
    """A request whose body is wrong at one place."""
    return Refusal(Kind.BAD_REQUEST, faults=(Fault(pointer, message),))


def unavailable(detail: str, retry_after: int = RETRY_AFTER_OUTAGE) -> Refusal:
    """Redis is away or full; nothing is wrong with the request."""
    return Refusal(Kind.UNAVAILABLE, detail, headers={"Retry-After": str(retry_after)})
