"""What a request asks to have accepted: its body, in any of the forms it may have, to events. No I/O.

Faults keep their place in the body as it was sent, also where an event had to be turned into one of ours first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from starlette.datastructures import Headers, QueryParams

from bus.codec import decode_json
from bus.event import Event, Invalid
from gateway.api.cloudevents import (
    BATCHED,
    HEADER_PREFIX,
    STRUCTURED,
    UnsupportedData,
    from_envelope,
    from_headers,
    media_type,
    named_as_sent,
)
from gateway.api.problem import Kind, Refusal, bad_request
from gateway.ingest import Durability

DURABILITY: Final = "durability"
NATIVE: Final = "application/json"
MAX_BATCH: Final = 1_000
"""Most events in one request."""
ACCEPTED_TYPES: Final = (NATIVE, STRUCTURED, BATCHED)


class Form(Enum):
    """How a body says its events."""

    NATIVE = "native"
    """Our own JSON: one event, or `{"events": […]}`."""
    BINARY = "binary"
    """One CloudEvent, its attributes in headers, its data the body."""
    STRUCTURED = "structured"
    BATCHED = "batched"


@dataclass(frozen=True, slots=True)
class Submission:
    """Events in the order of the body, or why one is none; `single` when the body was one event and not a list."""

    items: tuple[Event | Refusal, ...]
    single: bool


Read = Callable[[object, int], Event | Invalid]
"""The validator: decoded JSON and the event's index in the request to an event."""


def durability_of(query: QueryParams) -> Durability | Refusal | None:
    """What a request asks for (`?durability=replicated`); None when it leaves that to the settings."""
    asked = query.getlist(DURABILITY)
    if not asked:
        return None
    names = [each.value for each in Durability]
    if len(asked) > 1 or asked[0] not in names:
        return bad_request(f"{DURABILITY} may be given once, as {' or '.join(names)}")
    return Durability(asked[0])


def form_of(headers: Headers) -> Form | Refusal:
    """The form of a body, by its headers (CloudEvents HTTP binding §3)."""
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        refusal = "a compressed body is not taken"
        return Refusal(Kind.UNSUPPORTED_TYPE, refusal, headers={"Accept-Encoding": "identity"})
    content_type = headers.get("content-type", "")
    media = media_type(content_type)
    if not _is_utf8(content_type) and (media in ACCEPTED_TYPES or _is_binary(headers)):
        return Refusal(Kind.UNSUPPORTED_TYPE, "the charset must be utf-8")
    if media in (STRUCTURED, BATCHED):
        return Form.STRUCTURED if media == STRUCTURED else Form.BATCHED
    if _is_binary(headers) and not media.startswith("application/cloudevents"):
        return Form.BINARY
    if media == NATIVE:
        return Form.NATIVE
    return _unsupported("")


def read_submission(form: Form, headers: Headers, body: bytes, limit: int, read: Read) -> Submission | Refusal:
    """The events of a body; `limit` is the body's, in bytes. A fault of the whole refuses the whole."""
    if form is Form.BINARY:
        content_type = headers.get("content-type", "")
        return Submission((_cloud(from_headers(headers.items(), content_type, body, limit), 0, read),), single=True)
    value = decode_json(body, limit)
    if isinstance(value, Invalid):
        return Refusal(Kind.BAD_REQUEST, faults=value.problems)
    if form is Form.STRUCTURED:
        return Submission((_cloud(from_envelope(value), 0, read),), single=True)
    if form is Form.BATCHED:
        return _batch(value, "", lambda raw, index: _cloud(from_envelope(raw), index, read))
    if isinstance(value, dict) and "events" in value:
        if len(value) > 1:
            return bad_request("must have no member beside events")
        return _batch(value["events"], "/events", lambda raw, index: _native(raw, index, read))
    return Submission((_native(value, 0, read),), single=True)


def _batch(values: Any, pointer: str, one: Callable[[object, int], Event | Refusal]) -> Submission | Refusal:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_BATCH:
        return bad_request(f"must be a list of 1 to {MAX_BATCH} events", pointer)
    items: Sequence[Event | Refusal] = [one(raw, index) for index, raw in enumerate(values)]
    return Submission(
        tuple(item.beneath(f"{pointer}/{i}") if isinstance(item, Refusal) else item for i, item in enumerate(items)),
        single=False,
    )


def _native(raw: object, index: int, read: Read) -> Event | Refusal:
    event = read(raw, index)
    return Refusal(Kind.INVALID_EVENT, faults=event.problems) if isinstance(event, Invalid) else event


def _cloud(raw: dict[str, Any] | Invalid | UnsupportedData, index: int, read: Read) -> Event | Refusal:
    if isinstance(raw, UnsupportedData):
        return _unsupported("the data of a CloudEvent must be JSON or text; ")
    if isinstance(raw, Invalid):
        return Refusal(Kind.INVALID_EVENT, faults=raw.problems)
    event = read(raw, index)
    return Refusal(Kind.INVALID_EVENT, faults=named_as_sent(event.problems)) if isinstance(event, Invalid) else event


def _unsupported(why: str) -> Refusal:
    accept = ", ".join(ACCEPTED_TYPES)
    return Refusal(Kind.UNSUPPORTED_TYPE, f"{why}a body may be: {accept}", headers={"Accept-Post": accept})


def _is_binary(headers: Headers) -> bool:
    return HEADER_PREFIX + "specversion" in headers


def _is_utf8(content_type: str) -> bool:
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower() in ("utf-8", "utf8", "us-ascii")
    return True
