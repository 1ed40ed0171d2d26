"""The message of a job, in the form that its channel wants."""

from __future__ import annotations

from collections import OrderedDict
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
REMEMBERED: Final = 512
"""Messages that are the same for everybody."""
TAKEN_BACK: Final = Push("", "", withdrawn=True)

Made = Message | Rejected


class Composer:
    """Makes the messages of one channel.

    Without templates the words are the events' own, the same for everybody: they are made once for all who get them.
    """

    def __init__(self, templates: Templates, channel: str) -> None:
        self._templates, self._channel = templates, channel
        self._same: OrderedDict[tuple[bytes, ...], Made] | None = None if templates.names else OrderedDict()

    def compose(self, kind: Kind, content: Content, locale: str, about: tuple[bytes, ...]) -> Made:
        """The message for one person. `about`: the events as they are stored."""
        if kind is Kind.WITHDRAW:
            return TAKEN_BACK
        if self._channel == "webhook":
            return hook(content)
        if self._same is None:
            return self._render(content, locale)
        made = self._same.get(about)
        if made is None:
            made = self._same[about] = self._render(content, locale)
            if len(self._same) > REMEMBERED:
                self._same.popitem(last=False)
        return made

    def _render(self, content: Content, locale: str) -> Made:
        made = self._templates.render(self._channel, content, locale)
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
