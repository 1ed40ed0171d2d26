"""Preferences as a person sees and changes them: what is chosen, what that means for each category, what is locked.

Pure. The same for the person and for the backend, over HTTP and over a connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from bus.event import VIAS, Problem
from bus.people import preferences as prefs
from bus.people.categories import Categories, Category
from bus.people.preferences import Faults, Preferences


def shown(chosen: Preferences, categories: Categories) -> dict[str, Any]:
    """The document, and beside it each category of the settings with what is on; `locked` is what a switch cannot
    change: the category is required, or the person has the whole channel off."""
    return {
        "preferences": chosen.to_json(),
        "categories": [_category(chosen, category) for category in categories.named],
        "channels": list(VIAS),
    }


def _category(chosen: Preferences, category: Category) -> dict[str, Any]:
    channels = {
        channel: {
            "on": prefs.refusal(chosen, category, channel) is None,
            "locked": category.required or chosen.channels.get(channel) is False,
        }
        for channel in VIAS
    }
    return {"name": category.name, "title": category.title, "required": category.required, "channels": channels}


def replaced(raw: object, categories: Categories) -> Preferences | Faults:
    """A whole new document."""
    found = prefs.parse(raw)
    return found if isinstance(found, Faults) else _allowed(found, found, categories)


def patched(old: Preferences, patch: Mapping[str, Any], categories: Categories) -> Preferences | Faults:
    """The document after a merge patch (RFC 7396)."""
    found = prefs.parse(prefs.merged(old.to_json(), patch))
    if isinstance(found, Faults):
        return found
    # Only what the patch itself says can be refused: a category may have become required since the rest was chosen.
    return _allowed(found, prefs.read(orjson.dumps(prefs.merged({}, patch))), categories)


def _allowed(found: Preferences, said: Preferences, categories: Categories) -> Preferences | Faults:
    if any(prefs.forbidden(said, categories.of(name)) for name in said.categories):
        return Faults((Problem("/categories", "turns off something of a category that cannot be turned off"),))
    return found


def without(old: Preferences, category: str, channel: str) -> Preferences:
    """The document with a category off for a channel, whatever it said of the category before."""
    chosen = old.categories.get(category)
    if chosen is False:
        return old
    channels = {**chosen, channel: False} if isinstance(chosen, Mapping) else {channel: False}
    return replace(old, categories={**old.categories, category: channels})
