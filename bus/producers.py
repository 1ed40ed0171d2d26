"""Whose events how much is granted: the tables `[producers.NAME]`, the same for every role. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bus.allowance import Limit
from bus.naming import name_fault
from bus.settings import BadSetting

OTHERS: Final = "*"
"""Name of the one bucket of all who have no table of their own; no event can come from a producer of this name."""
CHANNELS: Final = ("push", "email", "sms", "webhook")
_KNOWN: Final = ("rate", "burst", "channels")


@dataclass(frozen=True, slots=True)
class Granted:
    """What a producer may send: events, and sends by channel; None and absent: as much as it likes."""

    events: Limit | None = None
    channels: Mapping[str, Limit] = field(default_factory=dict)


class Producers:
    """All tables. Raises `BadSetting`."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._granted = {name: _read(name, entry) for name, entry in table.items()}

    def own(self, name: str) -> Limit | None:
        """The limit on events of a producer that has a table of its own."""
        found = self._granted.get(name)
        return None if found is None or name == OTHERS else found.events

    def writes(self, name: str) -> tuple[str, Limit] | None:
        """The bucket of a producer that writes to Redis itself. Who has no table shares one with all others, so that
        nobody gets more by another name."""
        bucket, granted = self._of(name)
        return None if granted.events is None else (bucket, granted.events)

    def sends(self, name: str, channel: str) -> tuple[str, Limit] | None:
        """The bucket of what is sent by a channel for the events of a source."""
        bucket, granted = self._of(name)
        limit = granted.channels.get(channel)
        return None if limit is None else (f"{channel} {bucket}", limit)

    def _of(self, name: str) -> tuple[str, Granted]:
        found = self._granted.get(name)
        return (OTHERS, self._granted.get(OTHERS, Granted())) if found is None else (name, found)


def _read(name: str, entry: object) -> Granted:
    where = f"producers.{name}"
    if name != OTHERS and name_fault(name):
        raise BadSetting(f"{where}: a producer may not have this name")
    if not isinstance(entry, Mapping):
        raise BadSetting(f"{where} must be a table")
    if unknown := set(entry) - set(_KNOWN):
        raise BadSetting(f"{where} has no {min(unknown)}; it has: {', '.join(_KNOWN)}")
    rates = entry.get("channels", {})
    if not isinstance(rates, Mapping) or not all(channel in CHANNELS for channel in rates):
        raise BadSetting(f"{where}.channels must be a table of: {', '.join(CHANNELS)}")
    channels = {channel: _limit(f"{where}.channels.{channel}", rate, rate) for channel, rate in rates.items()}
    if "rate" not in entry:
        if "burst" in entry:
            raise BadSetting(f"{where}.burst is of no use without a rate")
        return Granted(None, channels)
    return Granted(_limit(f"{where}.rate", entry["rate"], entry.get("burst", entry["rate"])), channels)


def _limit(where: str, rate: object, burst: object) -> Limit:
    for value in (rate, burst):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
            raise BadSetting(f"{where} and its burst must be numbers above 0")
    assert isinstance(rate, int | float)
    assert isinstance(burst, int | float)
    return Limit(float(rate), max(1.0, float(burst)))
