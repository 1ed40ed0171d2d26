"""JSON schemas of what goes in and comes out, made from the very limits that the validator applies. Pure."""

from __future__ import annotations

from typing import Any, Final

from bus.event import (
    CONDITIONS,
    DEFAULT_TTL,
    MAX_BODY,
    MAX_EVENT_BYTES,
    MAX_STEPS,
    MAX_TITLE,
    MAX_TOPICS,
    MAX_TTL,
    MAX_USERS,
    PRIORITIES,
    RESERVED,
    VIAS,
)
from bus.naming import MAX_NAME, MAX_TOPIC
from bus.trail import Kind as Happening
from gateway.api import cloudevents
from gateway.api.problem import TYPE_PREFIX, Kind
from gateway.tracks import RECEIPTS, STATES, State

Json = dict[str, Any]

MOMENT: Final[Json] = {"type": "string", "format": "date-time"}
_STEP: Final[Json] = {
    "type": "object",
    "required": ["via"],
    "properties": {
        "via": {"enum": list(VIAS)},
        "after": {"type": "integer", "minimum": 0, "maximum": MAX_TTL, "default": 0, "description": "Seconds to wait."},
        "unless": {"enum": list(CONDITIONS), "description": "What makes the step unnecessary."},
    },
}


def name(limit: int = MAX_NAME, description: str = "") -> Json:
    """Schema of an id or name."""
    schema: Json = {"type": "string", "minLength": 1, "maxLength": limit, "pattern": r"^[^\u0000-\u001f\u007f]+$"}
    return schema | ({"description": description} if description else {})


def topic() -> Json:
    """Schema of a topic's name."""
    return name(MAX_TOPIC) | {"pattern": r"^(?!@)[^:*{}$#\u0000-\u001f\u007f]+:[^*{}$#\u0000-\u001f\u007f]+$"}


def event() -> Json:
    """Schema of an event as a producer writes it, for POST and for field `e` of an XADD alike."""
    users = {"type": "array", "maxItems": MAX_USERS, "items": name()}
    topics = {"type": "array", "maxItems": MAX_TOPICS, "items": topic()}
    return {
        "type": "object",
        "description": f"At most {MAX_EVENT_BYTES} bytes as JSON. Members not named here travel with the event.",
        "required": ["type", "to"],
        "properties": {
            "id": name(description="Events are identified by source and id; absent, Tocsin gives one."),
            "source": name(description="Absent: the name of the API key."),
            "type": name() | {"not": {"pattern": f"^{RESERVED.replace('.', '[.]')}"}},
            "to": {
                "type": "object",
                "additionalProperties": False,
                "description": "At least one user or topic.",
                "properties": {"users": users, "topics": topics},
            },
            "time": MOMENT | {"description": "When it happened; absent: when it was accepted."},
            "key": name(description="Ordering key: events that share it keep their order."),
            "category": name(),
            "title": {"type": "string", "maxLength": MAX_TITLE},
            "body": {"type": "string", "maxLength": MAX_BODY},
            "data": {"description": "Any JSON."},
            "template": name(),
            "ladder": {"type": "array", "minItems": 1, "maxItems": MAX_STEPS, "items": _STEP},
            "ttl": {"type": "integer", "minimum": 0, "maximum": MAX_TTL, "default": DEFAULT_TTL},
            "at": MOMENT | {"description": "When to send it."},
            "collapse_key": name(),
            "priority": {"enum": list(PRIORITIES), "default": "normal"},
            "ephemeral": {"type": "boolean", "default": False, "description": "Live only: no history, no inbox."},
        },
    }


def cloud_event() -> Json:
    """Schema of a CloudEvent as it is taken here."""
    ours = event()["properties"]
    properties = {attribute: ours[attribute] for attribute in cloudevents.SAME}
    properties |= {sent: ours[native] for sent, native in cloudevents.RENAMED.items()}
    properties |= {attribute: ours[attribute] for attribute in (*cloudevents.WHOLE, *cloudevents.FLAGS)}
    properties |= {
        sent: {"type": "string", "description": f"Names of {native}, with commas between."}
        for sent, native in cloudevents.RECIPIENTS.items()
    }
    properties |= {
        "specversion": {"const": cloudevents.VERSION},
        "datacontenttype": {"type": "string"},
        "data": {"description": "Any JSON."},
        "data_base64": {"type": "string", "contentEncoding": "base64"},
    }
    return {"type": "object", "required": list(cloudevents.REQUIRED), "properties": properties}


def problem() -> Json:
    """Schema of an error (RFC 9457)."""
    fault = {"type": "object", "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}}}
    return {
        "type": "object",
        "required": ["type", "title", "status"],
        "properties": {
            "type": {"enum": [TYPE_PREFIX + kind.value.slug for kind in Kind]},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "errors": {"type": "array", "items": fault, "description": "Where (RFC 6901) and what."},
        },
    }


def accepted() -> Json:
    """Schema of where an accepted event went."""
    return {
        "type": "object",
        "required": ["id", "partition", "position"],
        "properties": {
            "id": {"type": "string"},
            "partition": {"type": "integer"},
            "position": {"type": "string", "description": "Id of the entry in the partition's stream."},
        },
    }


def results() -> Json:
    """Schema of the answer to several events."""
    refused = {"type": "object", "required": ["problem"], "properties": {"problem": ref("Problem")}}
    each = {"type": "array", "items": {"oneOf": [ref("Accepted"), refused]}}
    return {"type": "object", "required": ["events"], "properties": {"events": each}}


def ref(schema: str) -> Json:
    """A reference to a schema by its name in the document."""
    return {"$ref": f"#/components/schemas/{schema}"}


def notification() -> Json:
    """Schema of what a client gets."""
    return {
        "type": "object",
        "required": ["id", "type", "created_at"],
        "properties": {
            "id": {"type": "string"},
            "type": {"type": "string"},
            "title": {"type": "string"},
            "body": {"type": "string"},
            "data": {"description": "Any JSON."},
            "category": {"type": "string"},
            "created_at": MOMENT,
        },
    }


def trace() -> Json:
    """Schema of one entry of a person's trail."""
    return {
        "type": "object",
        "required": ["at", "kind"],
        "properties": {
            "at": MOMENT,
            "kind": {"enum": [kind.value for kind in Happening]},
            "channel": {"enum": list(VIAS)},
            "reason": {"type": "string"},
            "attempt": {"type": "integer", "minimum": 1},
        },
    }


def recipient() -> Json:
    """Schema of what became of an event for one person."""
    waiting = {
        "type": "object",
        "required": ["channel", "due"],
        "properties": {"channel": {"enum": list(VIAS)}, "due": MOMENT, "unless": {"enum": list(CONDITIONS)}},
    }
    flags = {flag: {"type": "boolean"} for flag in ("in_audience", "acked", "read", "archived")}
    return {
        "type": "object",
        "required": ["user", *flags, "offset", "trail", "waiting"],
        "properties": {
            "user": name(),
            **flags,
            "offset": {"type": "integer", "minimum": 0, "description": "In their inbox; 0: it is not in it."},
            "trail": {"type": "array", "items": ref("Trace"), "description": "Oldest first."},
            "waiting": {"type": "array", "items": waiting, "description": "Steps that are still to come."},
        },
    }


def tracked() -> Json:
    """Schema of what became of an event."""
    counts = {receipt: {"type": "integer", "minimum": 0} for receipt in ("recipients", "topics", *RECEIPTS)}
    states = {state: {"type": "integer"} for state in STATES}
    return {
        "type": "object",
        "required": ["id", "source", "state", *counts, "channels"],
        "properties": {
            "id": name(),
            "source": name(),
            "state": {"enum": [state.value for state in State]},
            "at": MOMENT | {"description": "When it is due, where it waits for that."},
            **counts,
            "channels": {
                "type": "object",
                "description": "By channel: how many deliveries came to each state.",
                "properties": {via: {"type": "object", "properties": states} for via in VIAS},
            },
            "buried": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Why it is among the dead letters.",
            },
            "recipient": ref("Recipient"),
        },
    }


def explanation() -> Json:
    """Schema of why somebody did or did not get an event."""
    line = {
        "type": "object",
        "required": ["text"],
        "properties": {"text": {"type": "string"}, "at": MOMENT, "channel": {"enum": list(VIAS)}},
    }
    return {
        "type": "object",
        "required": ["id", "source", "user", "summary", "steps"],
        "properties": {
            "id": name(),
            "source": name(),
            "user": name(),
            "summary": {"type": "string"},
            "steps": {"type": "array", "items": line},
        },
    }


def withdrawn() -> Json:
    """Schema of the answer to a withdrawal."""
    return {
        "type": "object",
        "required": ["id", "source", "withdrawn", "recipients"],
        "properties": {
            "id": name(),
            "source": name(),
            "withdrawn": {"const": True},
            "recipients": {"type": "integer", "minimum": 0, "description": "How many people had been given it."},
        },
    }
