"""Preferences: what a person wants to be told of, by which channel and when; and what a category makes of it.

A channel that is off, a category that is off and a category that is off for the channel each say no by themselves; what
nobody mentioned is on, unless the category has the channel off by default. A required category hears no refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bus.event import VIAS, Problem
from bus.naming import name_fault
from bus.people.categories import DIGESTED, Category, Digest, read_digest
from bus.people.quiet_hours import QuietHours, quiet_until, zone_of
from bus.people.quiet_hours import parse as parse_quiet_hours

MEMBERS: Final = ("locale", "timezone", "channels", "categories", "quiet_hours", "digest")
MAX_CATEGORIES: Final = 200
"""Most categories that one person may have an opinion on."""
LOCALE: Final = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,4}", re.ASCII)
"""A language tag (RFC 5646), as far as templates are chosen by it."""
CATEGORY_OFF: Final = "category off"
CHANNEL_OFF: Final = "channel off"
OFF_BY_DEFAULT: Final = "off by default"


@dataclass(frozen=True, slots=True)
class Preferences:
    """Everything that a person chose. Absent is not the same as true: a category may be off by default."""

    locale: str | None = None
    timezone: str | None = None
    channels: Mapping[str, bool] = field(default_factory=dict)
    categories: Mapping[str, bool | Mapping[str, bool]] = field(default_factory=dict)
    """By name; "" is what comes without a category."""
    quiet_hours: QuietHours | None = None
    digest: Mapping[str, Mapping[str, Digest | None]] = field(default_factory=dict)
    """By category and channel; None: no digest, though the category has one."""

    def to_json(self) -> dict[str, Any]:
        """As `parse` reads it, what was not chosen left out."""
        digest = {
            category: {channel: _digest_json(choice) for channel, choice in by_channel.items()}
            for category, by_channel in self.digest.items()
        }
        categories = {k: v if isinstance(v, bool) else dict(v) for k, v in self.categories.items()}
        quiet = self.quiet_hours.to_json() if self.quiet_hours else None
        doc: dict[str, Any] = {"locale": self.locale, "timezone": self.timezone, "channels": dict(self.channels)}
        doc |= {"categories": categories, "quiet_hours": quiet, "digest": digest}
        return {name: value for name, value in doc.items() if value}


def _digest_json(choice: Digest | None) -> Any:
    return "off" if choice is None else {"window": choice.window, "max": choice.max}


@dataclass(frozen=True, slots=True)
class Faults:
    """Why something is no document of preferences."""

    faults: tuple[Problem, ...]


# What they decide ------------------------------------------------------------------------------------------------


def refusal(preferences: Preferences, category: Category, channel: str) -> str | None:
    """Why a notification of this category does not go out by this channel; None: it does."""
    if category.required:
        return None
    chosen = preferences.categories.get(category.name)
    own = chosen if isinstance(chosen, bool) or chosen is None else chosen.get(channel)
    if own is False:
        return CATEGORY_OFF
    if preferences.channels.get(channel) is False:
        return CHANNEL_OFF
    # That a category is on in general turns on no channel that it has off by default.
    turned_on = isinstance(chosen, Mapping) and own is True
    return OFF_BY_DEFAULT if channel in category.off and not turned_on else None


def digest_of(preferences: Preferences, category: Category, channel: str) -> Digest | None:
    """How notifications of this category are gathered for this channel; None: each goes out by itself."""
    chosen = preferences.digest.get(category.name, {})
    return chosen[channel] if channel in chosen else category.digest.get(channel)


def held_until(preferences: Preferences, category: Category, channel: str, zone: str, now: float) -> float | None:
    """Until when quiet hours hold a channel back; None: they do not. Unix time in seconds.

    `zone` is where the person is if the preferences do not say so: that of the profile, or the default.
    """
    hours = preferences.quiet_hours
    if hours is None or category.ignore_quiet_hours or channel not in hours.channels:
        return None
    return quiet_until(hours, preferences.timezone or zone, now)


def live_fields(preferences: Preferences) -> dict[str, str]:
    """What stands beside the document for the script that publishes: `live:*` or `live:<category>` is "0" where off.

    `live:<category>` is "1" where it was turned on by name, which matters where the category has it off by default.
    """
    out = {"live:*": "0"} if preferences.channels.get("live") is False else {}
    for name, chosen in preferences.categories.items():
        live = chosen.get("live") if isinstance(chosen, Mapping) else (None if chosen else False)
        if live is not None:
            out[f"live:{name}"] = "1" if live else "0"
    return out


# Reading and changing --------------------------------------------------------------------------------------------


def read(doc: bytes | None) -> Preferences:
    """A stored document; what this release does not understand in it is passed over."""
    try:
        raw = orjson.loads(doc or b"{}")
    except orjson.JSONDecodeError:
        raw = {}
    return _Reader().document(raw if isinstance(raw, Mapping) else {})


def parse(raw: object) -> Preferences | Faults:
    """Decoded JSON as a person or a backend sends it; every fault of it otherwise."""
    if not isinstance(raw, Mapping):
        return Faults((Problem("", "must be a JSON object"),))
    reader = _Reader()
    preferences = reader.document(raw)
    if not raw.keys() <= set(MEMBERS):
        reader.fault("", f"must have no members but {', '.join(MEMBERS)}")
    return Faults(tuple(reader.faults)) if reader.faults else preferences


def merged(doc: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document after a JSON Merge Patch (RFC 7396): null takes a member out."""
    out = dict(doc)
    for name, value in patch.items():
        if value is None:
            out.pop(name, None)
        elif isinstance(value, Mapping):
            below = out.get(name)
            out[name] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            out[name] = value
    return out


def forbidden(wanted: Preferences, category: Category) -> bool:
    """Whether this turns off something of a category that cannot be turned off."""
    chosen = wanted.categories.get(category.name)
    return category.required and (chosen is False or (isinstance(chosen, Mapping) and False in chosen.values()))


class _Reader:
    """Takes what is right, and collects the faults of the rest. Never quotes a value."""

    def __init__(self) -> None:
        self.faults: list[Problem] = []

    def fault(self, pointer: str, message: str) -> None:
        self.faults.append(Problem(pointer, message))

    def document(self, raw: Mapping[str, Any]) -> Preferences:
        return Preferences(
            locale=self._text("/locale", raw.get("locale"), locale_fault),
            timezone=self._text("/timezone", raw.get("timezone"), timezone_fault),
            channels=self._switches("/channels", raw.get("channels")),
            categories=self._categories(raw.get("categories")),
            quiet_hours=self._quiet_hours(raw.get("quiet_hours")),
            digest=self._digests(raw.get("digest")),
        )

    def _text(self, pointer: str, raw: object, check: Callable[[object], str | None]) -> str | None:
        if raw is None:
            return None
        if fault := check(raw):
            self.fault(pointer, fault)
            return None
        return str(raw)

    def _switches(self, pointer: str, raw: object) -> dict[str, bool]:
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            self.fault(pointer, "must be an object")
            return {}
        fine = {name: on for name, on in raw.items() if name in VIAS and isinstance(on, bool)}
        if len(fine) < len(raw):
            self.fault(pointer, f"must say true or false of some of {', '.join(VIAS)}")
        return fine

    def _by_category(self, pointer: str, raw: object) -> list[tuple[str, Any]]:
        """Those members whose names a category can have."""
        if raw is None:
            return []
        if not isinstance(raw, Mapping):
            self.fault(pointer, "must be an object")
            return []
        if len(raw) > MAX_CATEGORIES:
            self.fault(pointer, f"must have at most {MAX_CATEGORIES} categories")
        fine = [(name, value) for name, value in raw.items() if _may_name(name)]
        if len(fine) < len(raw):
            self.fault(pointer, "must have names of categories: at most 128 characters, no control characters")
        return fine

    def _categories(self, raw: object) -> dict[str, bool | Mapping[str, bool]]:
        return {
            name: value if isinstance(value, bool) else self._switches("/categories", value)
            for name, value in self._by_category("/categories", raw)
        }

    def _quiet_hours(self, raw: object) -> QuietHours | None:
        if raw is None:
            return None
        hours = parse_quiet_hours(raw)
        if isinstance(hours, str):
            self.fault("/quiet_hours", hours)
            return None
        return hours

    def _digests(self, raw: object) -> dict[str, Mapping[str, Digest | None]]:
        return {name: self._digest(value) for name, value in self._by_category("/digest", raw)}

    def _digest(self, raw: object) -> dict[str, Digest | None]:
        if not isinstance(raw, Mapping) or not raw.keys() <= set(DIGESTED):
            self.fault("/digest", f"must have for each category an object of some of {', '.join(DIGESTED)}")
            return {}
        out: dict[str, Digest | None] = {}
        for channel, choice in raw.items():
            found = None if choice == "off" else read_digest(choice)
            if isinstance(found, str):
                self.fault("/digest", f'must have "off" or a window and a max; one {found}')
            else:
                out[channel] = found
        return out


def _may_name(name: str) -> bool:
    return not name or name_fault(name) is None


def locale_fault(raw: object) -> str | None:
    """What is wrong with a language tag."""
    fine = isinstance(raw, str) and LOCALE.fullmatch(raw)
    return None if fine else "must be a language tag such as de or pt-BR"


def timezone_fault(raw: object) -> str | None:
    """What is wrong with the name of a time zone."""
    fine = isinstance(raw, str) and zone_of(raw)
    return None if fine else "must be a time zone of the IANA database such as Europe/Berlin"
