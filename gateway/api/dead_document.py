"""What the OpenAPI document says of dead letters. Pure."""

from __future__ import annotations

from typing import Final

from bus.letters import CHANNELS, MAX_NAMES, MAX_TEXT, QUEUES
from gateway.api import dead
from gateway.api.described import content, problems
from gateway.api.problem import Kind
from gateway.api.schemas import Json, ref

_MOMENT: Final[Json] = {"type": "string", "format": "date-time"}
_TEXT: Final[Json] = {"type": "string"}
_COUNT: Final[Json] = {"type": "integer", "minimum": 0}
_LIMIT: Final[Json] = {"type": "integer", "minimum": 1, "maximum": dead.MOST}
_FLAG: Final[Json] = {"type": "boolean"}
_FILTER: Final[dict[str, Json]] = {
    "channel": {"enum": list(CHANNELS), "description": "Jobs of this channel."},
    "queue": {"enum": list(QUEUES)},
    "reason": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_TEXT,
        "description": "Text that the reason contains.",
    },
    "since": _MOMENT,
    "until": _MOMENT,
    "names": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": MAX_NAMES},
}


def schemas() -> Json:
    """By name."""
    letter = {
        "name": {"type": "string", "description": "partition/id"},
        "buried_at": _MOMENT,
        "queue": {"type": "string", "description": f"{', '.join(QUEUES)}, or jobs: and a channel."},
        "reason": _TEXT,
        "attempts": _COUNT,
        "entry": {"type": "string", "description": "Id that the entry had in its queue."},
        "delivery": {"type": "string", "description": "Of a job: the key by which its provider knows a repeat."},
        "event": {"type": "string", "description": "Of a job: what it was about."},
        "user": {"type": "string", "description": "Of a job: whom it was for."},
    }
    needed = ["name", "buried_at", "queue", "reason", "attempts", "entry"]
    return {
        "DeadLetter": {"type": "object", "required": needed, "properties": letter},
        "DeadFilter": {"type": "object", "properties": _FILTER, "additionalProperties": False},
    }


def paths() -> Json:
    """By path."""
    listed: Json = {"letters": {"type": "array", "items": ref("DeadLetter")}, "more": _FLAG}
    body: Json = {"filter": ref("DeadFilter"), "dry_run": _FLAG, "limit": _LIMIT, "all": _FLAG}
    query = [_query(name, schema) for name, schema in (_FILTER | {"limit": _LIMIT}).items()]
    asked = [_query(name, {"const": "true"}) for name in ("all", "dry_run")]
    replay = _operation("replayDeadLetters", "Send dead letters again", _object(_done("replayed")))
    replay["requestBody"] = {"required": True, "content": content(_object(body, needed=()))}
    return {
        dead.PATH: {
            "get": _operation("listDeadLetters", "What was buried, newest first", _object(listed), *query),
            "delete": _operation("dropDeadLetters", "Drop dead letters", _object(_done("dropped")), *query, *asked),
        },
        dead.REPLAY: {"post": replay},
    }


def _done(what: str) -> Json:
    return {"matched": _COUNT, what: _COUNT, "letters": {"type": "array", "items": _TEXT}, "more": _FLAG}


def _object(properties: Json, needed: tuple[str, ...] | None = None) -> Json:
    required = list(properties if needed is None else needed)
    return {"type": "object", "required": required, "properties": properties}


def _query(name: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "schema": schema}


def _operation(operation: str, summary: str, found: Json, *parameters: Json) -> Json:
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{"bearer": []}, {"apiKey": []}],
        "parameters": list(parameters),
        "responses": {
            "200": {"description": summary, "content": content(found)},
            **problems(Kind.BAD_REQUEST, Kind.UNAUTHENTICATED, Kind.FORBIDDEN, Kind.TOO_LARGE, Kind.UNAVAILABLE),
        },
    }
