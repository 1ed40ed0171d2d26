"""`tocsin publish`: one event by POST, as a producer would send it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from tocsin.asking import ask
from tocsin.trouble import USAGE, Trouble

DEFAULT_TYPE: Final = "note"


@dataclass(frozen=True, slots=True)
class Draft:
    """The event as the command line gives it; None and empty are left out."""

    users: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    type: str = DEFAULT_TYPE
    title: str | None = None
    body: str | None = None
    data: str | None = None
    """JSON."""
    event_id: str | None = None
    source: str | None = None
    ephemeral: bool = False
    category: str | None = None
    template: str | None = None
    ladder: str | None = None
    """JSON."""
    ttl: int | None = None
    """Seconds."""
    at: str | None = None
    """RFC 3339."""
    collapse_key: str | None = None


def to_event(draft: Draft) -> dict[str, Any]:
    """The event's JSON object. Raises `Trouble` when it is for nobody or its data is not JSON."""
    if not draft.users and not draft.topics:
        raise Trouble("for whom? Give --user NAME or --topic NAMESPACE:NAME, each as often as you like", USAGE)
    to = {"users": list(draft.users), "topics": list(draft.topics)}
    event: dict[str, Any] = {"type": draft.type, "to": {k: v for k, v in to.items() if v}}
    named: dict[str, object] = {"title": draft.title, "body": draft.body, "id": draft.event_id, "source": draft.source}
    named |= {"category": draft.category, "template": draft.template, "at": draft.at, "ttl": draft.ttl}
    named |= {"collapse_key": draft.collapse_key}
    event |= {name: value for name, value in named.items() if value is not None}
    for name, text, example in (
        ("data", draft.data, '{"price": 12.5}'),
        ("ladder", draft.ladder, '[{"via": "live"}, {"via": "email", "after": 60, "unless": "read"}]'),
    ):
        if text is not None:
            event[name] = _json(name, text, example)
    if draft.ephemeral:
        event["ephemeral"] = True
    return event


def _json(option: str, text: str, example: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise Trouble(f"--{option} is not JSON: {error}; as in --{option} '{example}'", USAGE) from error


def post(url: str, api_key: str, event: dict[str, Any]) -> dict[str, Any]:
    """POST one event to the gateway at `url`; its answer. Raises `Trouble`."""
    return ask(url, api_key, "POST", "/v1/events", event)
