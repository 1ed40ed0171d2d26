"""CloudEvents 1.0 to our own event as a producer would write it, ready for the one validator. Pure.

Attributes keep their names; two have another one (`partitionkey` is our `key`, `collapsekey` our `collapse_key`), and
two extension attributes say whom the event is for, because CloudEvents have no such thing: `tousers` and `totopics`,
each a list of names with commas between. `subject` says what the event is about and addresses nobody; like every
extension that we do not know, it travels with the event. (CloudEvents 1.0.2 §3, JSON format §3, HTTP binding §3.)
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from bus.codec import decode_json
from bus.event import Invalid, Problem

STRUCTURED: Final = "application/cloudevents+json"
BATCHED: Final = "application/cloudevents-batch+json"
HEADER_PREFIX: Final = "ce-"
VERSION: Final = "1.0"

REQUIRED: Final = ("specversion", "id", "source", "type")
SAME: Final = ("id", "source", "type", "time", "title", "body", "category", "template", "priority", "at")
"""Attributes that are called the same here and there."""
RENAMED: Final = {"partitionkey": "key", "collapsekey": "collapse_key"}
RECIPIENTS: Final = {"tousers": "users", "totopics": "topics"}
WHOLE: Final = ("ttl",)
FLAGS: Final = ("ephemeral",)
OURS_ALONE: Final = ("to", "key", "ladder")
"""Members of our own event that an extension attribute of the same name would be mistaken for."""

_NAME: Final = re.compile(r"[a-z0-9]+")
_WHOLE: Final = re.compile(r"-?[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class UnsupportedData:
    """The data is neither JSON nor text."""


Raw = dict[str, Any]


def from_headers(
    headers: Iterable[tuple[str, str]], content_type: str, body: bytes, limit: int
) -> Raw | Invalid | UnsupportedData:
    """Binary mode: `ce-` headers are the attributes, the body is the data. `limit` is the body's, in bytes."""
    attributes: dict[str, object] = {}
    faults: list[Problem] = []
    for name, value in headers:
        if name.startswith(HEADER_PREFIX):
            attribute = name.removeprefix(HEADER_PREFIX)
            attributes[attribute] = _from_header(value)
            if attributes[attribute] is None:
                faults.append(Problem(f"/{attribute}", "must be percent-encoded UTF-8"))
    if faults:
        return Invalid(tuple(faults))
    data = _decoded(body, content_type, limit, "/data") if body else None
    if isinstance(data, Invalid | UnsupportedData):
        return data
    return _native(attributes, data)


def from_envelope(envelope: object) -> Raw | Invalid | UnsupportedData:
    """Structured mode: one JSON object with the attributes and `data` (or `data_base64`)."""
    if not isinstance(envelope, Mapping):
        return Invalid((Problem("", "must be a JSON object"),))
    data = _data_of(envelope)
    if isinstance(data, Invalid | UnsupportedData):
        return data
    attributes = {name: value for name, value in envelope.items() if name not in ("data", "data_base64")}
    return _native(attributes, data)


def named_as_sent(faults: Iterable[Problem]) -> tuple[Problem, ...]:
    """The validator's faults under the names that the attributes have in a CloudEvent."""
    return tuple(replace(fault, pointer=_pointer_as_sent(fault.pointer)) for fault in faults)


def _pointer_as_sent(pointer: str) -> str:
    if pointer.startswith("/to/topics"):
        return "/totopics"
    if pointer == "/to" or pointer.startswith("/to/"):
        return "/tousers"
    for sent, ours in RENAMED.items():
        if pointer == f"/{ours}":
            return f"/{sent}"
    return pointer


# Attributes ------------------------------------------------------------------------------------------------------


def _native(attributes: Mapping[str, object], data: object) -> Raw | Invalid:
    present = {name: value for name, value in attributes.items() if value is not None}
    faults = [fault for name, value in present.items() if (fault := _fault(name, value))]
    faults += [Problem(f"/{name}", "is required") for name in REQUIRED if not present.get(name)]
    if present.get("specversion", VERSION) != VERSION:
        faults.append(Problem("/specversion", f"must be {VERSION}"))
    if faults:
        return Invalid(tuple(faults))
    raw: Raw = {}
    to: dict[str, list[str]] = {}
    for name, value in present.items():
        if name in RECIPIENTS:
            to[RECIPIENTS[name]] = [part.strip() for part in str(value).split(",")]
        elif name != "specversion":
            raw[RENAMED.get(name, name)] = _typed(name, value)
    raw["to"] = to
    if data is not None:
        raw["data"] = data
    return raw


def _fault(name: str, value: object) -> Problem | None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "data":
        return Problem("", "has an attribute whose name is not of lower-case letters and digits")
    if name in OURS_ALONE:
        return Problem(f"/{name}", "is not an attribute here; use tousers, totopics or partitionkey")
    if not isinstance(value, str | bool | int):
        return Problem(f"/{name}", "must be a string, a whole number, true or false")
    return None


def _typed(name: str, value: object) -> object:
    """Headers know only strings; what is not of the type stays, for the validator to refuse."""
    if name in WHOLE and isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    if name in FLAGS and value in ("true", "false"):
        return value == "true"
    return value


def _from_header(value: str) -> str | None:
    """The value of a header whose bytes came as Latin-1, percent-decoded (HTTP binding §3.1.3.2)."""
    try:
        return unquote_to_bytes(value.encode("latin-1")).decode()
    except UnicodeDecodeError:
        return None


# Data ------------------------------------------------------------------------------------------------------------


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    """Whether a media type is JSON or one of its kind (RFC 6839 §3.1)."""
    return media == "application/json" or media.endswith("+json")


def _data_of(envelope: Mapping[str, Any]) -> object | Invalid | UnsupportedData:
    encoded = envelope.get("data_base64")
    if encoded is None:
        return envelope.get("data")
    if envelope.get("data") is not None:
        return Invalid((Problem("/data_base64", "must not stand beside data"),))
    content_type = envelope.get("datacontenttype") or "application/json"
    try:
        body = b64decode(encoded, validate=True) if isinstance(encoded, str) else None
    except (Base64Error, ValueError):
        body = None
    if body is None or not isinstance(content_type, str):
        return Invalid((Problem("/data_base64", "must be base64, of the type that datacontenttype names"),))
    return _decoded(body, content_type, len(body), "/data_base64")


def _decoded(body: bytes, content_type: str, limit: int, pointer: str) -> object | Invalid | UnsupportedData:
    media = media_type(content_type)
    if is_json(media):
        value = decode_json(body, limit)
        return (
            Invalid(tuple(replace(p, pointer=pointer) for p in value.problems)) if isinstance(value, Invalid) else value
        )
    if not media.startswith("text/"):
        return UnsupportedData()
    try:
        return body.decode()
    except UnicodeDecodeError:
        return Invalid((Problem(pointer, "is not text in UTF-8"),))
