"""What a message says: the facts that templates are given, and the words where there is no template.

Pure. Default words are the producer's own, title and body, so they are in whatever language the producer writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bus.event import Event

MAX_LINE: Final = 500
"""Longest subject or title, in characters; a longer one is cut."""
MAX_LISTED: Final = 50
"""Events that the default words of a digest name."""
_CONTROL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OVERRIDE: Final = re.compile("[\u202a-\u202e]")
"""Embeddings and overrides of the writing direction: a subject must not turn round what is shown beside it."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a message is about, and for whom."""

    events: tuple[Event, ...]
    """One, or all of a digest, oldest first."""
    user: str
    name: str = ""
    """What the person is called; empty where nobody said."""
    timezone: str = "UTC"
    unsubscribe: str | None = None

    @property
    def newest(self) -> Event:
        """The one event, or the last of a digest."""
        return self.events[-1]

    @property
    def is_digest(self) -> bool:
        """Whether it tells of several events in one message."""
        return len(self.events) > 1


def facts(content: Content, locale: str, language: str) -> dict[str, Any]:
    """What templates can name. `language` is the folder of the wording, empty for the default one."""
    told = [_told(event) for event in content.events]
    return {
        "event": told[-1],
        "events": told,
        "count": len(told),
        "title": told[-1]["title"],
        "body": told[-1]["body"],
        "data": told[-1]["data"],
        "link": link(content.newest),
        "user": {"id": content.user, "name": content.name},
        "locale": locale,
        "language": language,
        "timezone": content.timezone,
        "unsubscribe": content.unsubscribe or "",
    }


def _told(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "type": event.type,
        "category": event.category or "",
        "created_at": event.created_at,
        "title": event.title or "",
        "body": event.body or "",
        "data": {} if event.data is None else event.data,
        "link": link(event),
    }


def link(event: Event) -> str:
    """Where a click leads: the event's `data.url` when that is a web address, else nothing."""
    url = event.data.get("url") if isinstance(event.data, Mapping) else None
    fit = isinstance(url, str) and url.lower().startswith(("https://", "http://"))
    return str(url) if fit and not _CONTROL.search(str(url)) and " " not in str(url) else ""


# Default words -----------------------------------------------------------------------------------------------------


def title(content: Content) -> str:
    """One line: the title, else the beginning of the body, else the type; of a digest, the newest's and how many."""
    more = f" (+{len(content.events) - 1})" if content.is_digest else ""
    return one_line(_headline(content.newest)) + more


def body(content: Content) -> str:
    """What comes below the title; of a digest, a line for each event."""
    if not content.is_digest:
        return lines(content.newest.body or "")
    listed = [f"- {one_line(_headline(event))}" for event in content.events[-MAX_LISTED:]]
    left_out = len(content.events) - len(listed)
    return "\n".join((*(["…"] if left_out else []), *listed))


def whole(content: Content) -> str:
    """Title and body, for a channel that has one text only."""
    head, rest = title(content), body(content)
    return head if not rest or rest.startswith(head) else f"{head}\n{rest}"


def _headline(event: Event) -> str:
    return event.title or (event.body or "").strip().partition("\n")[0] or event.type


# Tidying -----------------------------------------------------------------------------------------------------------


def one_line(text: str) -> str:
    """As one line with single spaces: no line break can begin a header of its own, nothing unseen is carried along."""
    line = " ".join(_OVERRIDE.sub("", _CONTROL.sub(" ", text)).split())
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


def lines(text: str) -> str:
    """As lines that end in a line feed, without control characters and surrounding space."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()
