"""Where a person is named in things that are about others too, and what these are without the name.

Pure. An event is found here as JSON with `to.users`, a timer as its parts between line feeds, see `timers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from bus.keys import escape


def mentions(fields: Mapping[bytes, bytes], user: str) -> bool:
    """Whether an entry of a stream (an event, a job, a dead letter of either or of a timer) names somebody."""
    if fields.get(b"u") == user.encode():
        return True
    if user in _users(fields.get(b"e", b"")):
        return True
    timer = fields.get(b"t", b"").split(b"\n")
    if timer[0] == b"event":
        return user in _users(timer[-1])
    return len(timer) > 1 and escape(user).encode() in timer[1:]


def alone_in(fields: Mapping[bytes, bytes], user: str) -> bool:
    """Whether an entry's event is for this person and nobody else."""
    event = _event(fields.get(b"e", b""))
    return _users_of(event) == [user] and not _topics_of(event)


def event_without(data: bytes, user: str) -> bytes | None:
    """An event as JSON with the person taken out of its audience; None when nobody is left."""
    event = _event(data)
    users = [name for name in _users_of(event) if name != user]
    if not users and not _topics_of(event):
        return None
    to = {**event["to"], "users": users}
    if not users:
        del to["users"]
    return orjson.dumps({**event, "to": to})


def timer_without(timer: bytes, user: str) -> bytes | None:
    """A scheduled event's timer without the person, empty when nobody is left; None when it does not name them."""
    *head, data = timer.split(b"\n")
    if user not in _users(data):
        return None
    left = event_without(data, user)
    return b"" if left is None else b"\n".join((*head, left))


def _event(data: bytes) -> Any:
    try:
        event = orjson.loads(data)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) and isinstance(event.get("to"), dict) else {}


def _users(data: bytes) -> list[Any]:
    return _users_of(_event(data))


def _users_of(event: Any) -> list[Any]:
    users = event.get("to", {}).get("users")
    return users if isinstance(users, list) else []


def _topics_of(event: Any) -> list[Any]:
    topics = event.get("to", {}).get("topics")
    return topics if isinstance(topics, list) else []
