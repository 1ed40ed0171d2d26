"""The message of a job, in the form that its channel wants."""

from __future__ import annotations

from typing import Any, Final

from bus.codec import iso
from bus.event import Event
from bus.outcome import Rejected
from fanout.channels.delivery import Hook, Message, Push
from fanout.channels.webhook import payload
from fanout.job import Kind
from fanout.render import Templates, Unrenderable
from fanout.wording import Content

DIGEST: Final = "tocsin.digest"
"""Type of a webhook that tells of several events."""


def compose(templates: Templates, channel: str, kind: Kind, content: Content, locale: str) -> Message | Rejected:
    """The message for one person."""
    if kind is Kind.WITHDRAW:
        return Push("", "", withdrawn=True)
    if channel == "webhook":
        return hook(content)
    made = templates.render(channel, content, locale)
    return Rejected(made.reason) if isinstance(made, Unrenderable) else made


def hook(content: Content) -> Hook:
    """Events as Standard Webhooks has them: type, timestamp, data."""
    newest = content.newest
    if not content.is_digest:
        return Hook(payload(newest.type, iso(newest.created_at), told(newest, content.user)))
    data = {"user": content.user, "events": [told(event, content.user) for event in content.events]}
    return Hook(payload(DIGEST, iso(newest.created_at), data))


def told(event: Event, user: str) -> dict[str, Any]:
    """An event as a webhook tells of it."""
    said: dict[str, Any] = {"id": event.id, "source": event.source, "type": event.type, "user": user}
    for name in ("category", "title", "body", "data"):
        if (value := getattr(event, name)) is not None:
            said[name] = value
    return said | {"created_at": iso(event.created_at)}
