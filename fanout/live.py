"""The words that an event with a template is shown with live: rendered once, in the default language, for everybody.

One publication goes to all who are connected, so it cannot be in the language of each; every other channel writes to
one person and uses theirs.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Final

from bus.event import Event
from fanout.channels.delivery import Push
from fanout.render import Templates, Unrenderable
from fanout.wording import Content

TOLD: Final = 1_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LiveWords:
    """Gives title and body to events that name a template and bring neither."""

    templates: Templates
    locale: str
    _told: set[str] = field(default_factory=set)
    """Templates that could not be rendered: each is told of once, not with every event."""

    def __call__(self, event: Event) -> Event:
        """The event as it is shown: without words where there are none, for its data is still worth having."""
        if event.template is None or event.title is not None or event.body is not None:
            return event
        made = self.templates.render("live", Content((event,), ""), self.locale)
        if isinstance(made, Push):
            return replace(event, title=made.title, body=made.body or None)
        if isinstance(made, Unrenderable) and event.template not in self._told and len(self._told) < TOLD:
            self._told.add(event.template)
            log.warning("no live wording", extra={"event": event.id, "source": event.source, "reason": made.reason})
        return event
