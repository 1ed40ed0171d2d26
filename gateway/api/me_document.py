"""How `/v1/me/…` is described in the OpenAPI document: made from the very table that makes its routes. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bus.cursor import MAX_OFFSET
from gateway.api.me import KINDS, PATHS, PREFIX
from gateway.api.problem import MEDIA_TYPE, Kind
from gateway.api.schemas import Json, name, ref
from gateway.marks import DEFAULT_PAGE, MAX_EPOCH, MOST, PAGE, STATES

_OFFSET: Final[Json] = {"type": "integer", "minimum": 1, "maximum": MAX_OFFSET}
_IDS: Final[Json] = {"ids": {"type": "array", "maxItems": MOST, "items": name()}}
_OFFSETS: Final[Json] = {"offsets": {"type": "array", "maxItems": MOST, "items": _OFFSET}}
_NUMBERS: Final[Json] = {"unread": {"type": "integer"}, "unseen": {"type": "integer"}}

SUMMARIES: Final[Mapping[str, str]] = {
    "inbox.list": "A page of the inbox, newest first",
    "inbox.count": "How many notifications are unread, unseen, and there at all",
    "read": "Mark notifications read",
    "unread": "Mark notifications unread",
    "archive": "Put notifications away",
    "unarchive": "Take notifications back from where they were put away",
    "seen": "The bell was opened",
    "ack": "Acknowledge notifications, as an app does that was woken by a push",
    "prefs.get": "Preferences",
    "prefs.set": "Change preferences: a JSON merge patch (RFC 7396)",
    "devices.list": "Devices for pushes",
    "devices.add": "Register a device",
    "devices.key": "The key to subscribe to Web Push with",
    "devices.remove": "Forget a device",
    "topics.list": "Topics followed",
    "topics.follow": "Follow a topic, connected or not",
    "topics.unfollow": "Follow it no longer",
}

PARAMETERS: Final[Mapping[str, Json]] = {
    "inbox.list": {
        "before": _OFFSET,
        "limit": {"type": "integer", "minimum": 1, "maximum": PAGE, "default": DEFAULT_PAGE},
        "state": {"enum": list(STATES), "default": STATES[0]},
    },
    "read": _IDS | _OFFSETS | {"upto": _OFFSET},
    "unread": _IDS | _OFFSETS,
    "archive": _IDS | _OFFSETS,
    "unarchive": _IDS | _OFFSETS,
    "seen": {"upto": _OFFSET},
    "ack": _IDS
    | _OFFSETS
    | {"to": _OFFSET, "from": _OFFSET, "epoch": {"type": "string", "minLength": 1, "maxLength": MAX_EPOCH}},
}
"""Those that are known here; the others take what their own documents say."""

RESULTS: Final[Mapping[str, Json]] = {
    "inbox.list": _NUMBERS
    | {
        "epoch": {"type": "string"},
        "offset": {"type": "integer"},
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["offset", "read", "archived", "seen", "notification"],
                "properties": {
                    "offset": {"type": "integer"},
                    "read": {"type": "boolean"},
                    "archived": {"type": "boolean"},
                    "seen": {"type": "boolean"},
                    "notification": {"type": "object"},
                },
            },
        },
        "more": {"type": "boolean"},
    },
    "inbox.count": _NUMBERS | {"total": {"type": "integer"}},
    **dict.fromkeys(("read", "unread", "archive", "unarchive", "seen"), _NUMBERS),
    "ack": {"acked": {"type": "integer", "description": "How many of them were not acknowledged before."}},
}


def paths() -> Json:
    """The `paths` of the document."""
    return {
        re.sub(r":path}", "}", PREFIX + path): {
            method.lower(): _operation(path, method, procedure) for method, procedure in methods.items()
        }
        for path, methods in PATHS.items()
    }


def _operation(path: str, method: str, procedure: str) -> Json:
    named = re.findall(r"{(\w+)", path)
    parameters = [{"name": each, "in": "path", "required": True, "schema": name()} for each in named]
    schemas = PARAMETERS.get(procedure, {})
    operation: Json = {
        "operationId": f"my.{procedure}",
        "summary": SUMMARIES[procedure],
        "security": [{"token": []}],
        "responses": {"200": {"description": "Done.", "content": _content(_object(RESULTS.get(procedure)))}}
        | _problems(),
    }
    if method == "GET":
        parameters += [{"name": each, "in": "query", "schema": schema} for each, schema in schemas.items()]
    elif not named:
        operation["requestBody"] = {"content": _content(_object(schemas))}
    return operation | ({"parameters": parameters} if parameters else {})


def _object(properties: Json | None) -> Json:
    return {"type": "object", "properties": properties} if properties else {"type": "object"}


def _content(schema: Json, media: str = "application/json") -> Json:
    return {media: {"schema": schema}}


def _problems() -> Json:
    by_status: dict[str, list[str]] = {}
    for kind in dict.fromkeys((Kind.UNAUTHENTICATED, Kind.TIMEOUT, Kind.TOO_LARGE, *KINDS.values())):
        by_status.setdefault(str(kind.value.status), []).append(kind.value.title)
    return {
        status: {"description": "; or ".join(titles), "content": _content(ref("Problem"), MEDIA_TYPE)}
        for status, titles in by_status.items()
    }
