"""Bytes ↔ event, and event → what a client sees of it.

An entry of an `events` stream has the field `e` (the event as JSON), written by us with `v` (schema version, absent
means 1) and `p` (the producer's name); a producer that XADDs by hand needs only `e`. `d` and `i` name the entry in
which the event first came, where that was put off or buried. Unknown JSON fields survive a round trip, so a worker of
the previous release carries what it does not understand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import orjson

from bus.event import DEFAULT_TTL, EPOCH, MAX_EVENT_BYTES, MESSAGE, Event, Invalid, Problem, Step, parse
from bus.naming import name_fault
from bus.tree import MAX_INTEGER

VERSION: Final = 1
DIRECT: Final = "xadd"
"""The source of an event that was XADDed by hand and names none."""
_SOMEBODY: Final = {"users": ["nobody"]}
"""The validator wants an audience; what has none is given this one and loses it again."""


def iso(seconds: float) -> str:
    """Unix time as all our JSON says it: RFC 3339, UTC, to the millisecond."""
    moment = EPOCH + timedelta(milliseconds=round(seconds * 1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _step(step: Step) -> dict[str, Any]:
    out: dict[str, Any] = {"via": step.via, "after": step.after}
    if step.unless is not None:
        out["unless"] = step.unless
    return out


def encode_event(event: Event) -> bytes:
    """The event as JSON, absent fields left out; `decode_entry` gives it back."""
    return orjson.dumps(_content(event) | {"to": _audience(event)})


def encode_content(event: Event) -> bytes:
    """The event as JSON without its audience: what is kept beside a publication for those who write mails from it."""
    return orjson.dumps(_content(event))


def decode_content(data: bytes) -> Event | None:
    """What `encode_content` wrote, for nobody; None where it is something else."""
    raw = decode_json(data, limit=len(data))
    if not isinstance(raw, Mapping) or not {"id", "source", "time"} <= raw.keys():
        return None
    event = parse({**raw, "to": _SOMEBODY}, default_id="", default_source="", now=0.0, internal=True)
    return None if isinstance(event, Invalid) else replace(event, users=())


def _audience(event: Event) -> dict[str, list[str]]:
    return {k: list(v) for k, v in (("users", event.users), ("topics", event.topics)) if v}


def _content(event: Event) -> dict[str, Any]:
    out: dict[str, Any] = dict(event.extra)
    out |= {"id": event.id, "source": event.source, "type": event.type, "time": iso(event.created_at)}
    for name in ("key", "category", "title", "body", "data", "template", "collapse_key"):
        if (value := getattr(event, name)) is not None:
            out[name] = value
    if event.ladder is not None:
        out["ladder"] = [_step(step) for step in event.ladder]
    if event.at is not None:
        out["at"] = iso(event.at)
    if event.ttl != DEFAULT_TTL:
        out["ttl"] = event.ttl
    if event.priority != "normal":
        out["priority"] = event.priority
    if event.ephemeral:
        out["ephemeral"] = True
    return out


_LONG_NUMBER: Final = re.compile(rb"\d{19}")
_BEYOND: Final = MAX_INTEGER + 1


def decode_json(data: bytes, limit: int = MAX_EVENT_BYTES) -> object | Invalid:
    """JSON of at most `limit` bytes, or why not. Never quotes the input.

    Whole numbers beyond 64 bits come out beyond 64 bits, for the validator to refuse.
    """
    if len(data) > limit:
        return Invalid((Problem("", f"must be at most {limit} bytes"),))
    try:
        value: object = orjson.loads(data)
    except orjson.JSONDecodeError:
        return Invalid((Problem("", "is not valid JSON in UTF-8, or nests too deep, or has a number beyond a double"),))
    return _exact(data, value) if _LONG_NUMBER.search(data) else value


def _exact(data: bytes, rounded: object) -> object:
    # orjson silently makes a float of a whole number beyond 64 bits; the slower reader does not.
    try:
        return json.loads(data, parse_int=lambda digits: int(digits) if len(digits) <= 21 else _BEYOND)
    except RecursionError:
        return rounded  # nests far deeper than the validator lets pass


CHARGED: Final = b"g"
"""Field of an entry whose producer's rate was looked at before it was written: a gateway did that."""


def encode_entry(event: Event, producer: str) -> dict[str, bytes]:
    """The fields of a stream entry."""
    return {"v": str(VERSION).encode(), "p": producer.encode(), "e": encode_event(event)}


def decode_entry(default_id: str, fields: Mapping[bytes, bytes], now: float) -> Event | Invalid:
    """A stream entry to an event; `default_id` stands in for a missing event id, so it must be no other entry's.

    The id of the entry alone will not do: streams of different partitions have entries of the same id.
    """
    version = fields.get(b"v", b"1")
    if not version.isdigit() or not 1 <= int(version[:4]) <= VERSION:
        told = version[:8].decode() if version.isdigit() else "that is no number"
        return Invalid((Problem("", f"has a schema version {told}; this worker reads up to {VERSION}"),))
    data = fields.get(b"e")
    if data is None:
        return Invalid((Problem("", "has no field e: XADD the event as JSON in field e"),))
    raw = decode_json(data)
    if isinstance(raw, Invalid):
        return raw
    # A bare XADD may not send the system's own types; what a gateway wrote carries its producer's name.
    internal = fields.get(b"p") == b"tocsin"
    return parse(raw, default_id=default_id, default_source=DIRECT, now=now, internal=internal)


def event_name(fields: Mapping[bytes, bytes]) -> str:
    """The event's id as its producer gave it, for logs; empty where an entry has none that can be read."""
    raw = decode_json(fields.get(b"e", b""))
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) and name_fault(found) is None else ""


def publication(event: Event) -> bytes:
    """What a client gets as `pub`, without its offset: `"data":{…}` and, for a client's message, `"info":{…}`.

    The bytes are the inside of a JSON object, so that the gateway can put an offset behind them without parsing.
    """
    if event.type == MESSAGE:
        data = b'"data":' + orjson.dumps(event.data)
        info = event.extra.get("info")
        return data if info is None else data + b',"info":' + orjson.dumps(info)
    notification: dict[str, Any] = {"id": event.id, "type": event.type}
    for name in ("title", "body", "data", "category"):
        if (value := getattr(event, name)) is not None:
            notification[name] = value
    notification["created_at"] = iso(event.created_at)
    if "actions" in event.extra:
        notification["actions"] = event.extra["actions"]
    return b'"data":' + orjson.dumps(notification)
