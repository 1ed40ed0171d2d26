"""Quiet hours: when a person is not to be disturbed, by the clock on their wall, and when that ends.

A window begins on each of its days at `start` and ends at `end`, on the day after where that is not later in the day.
Where a clock is put back, the hour comes twice: quiet begins with the first and ends with the second. Where it is put
forward, a time that does not come is the moment of the change.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

DISTURBING: Final = ("push", "sms")
"""Channels that quiet hours hold back unless the person names others."""
HOLDABLE: Final = ("push", "email", "sms")
"""Channels that they can hold back: what is live is looked at when one looks, and a webhook wakes nobody."""
EVERY_DAY: Final = (0, 1, 2, 3, 4, 5, 6)
_DAY: Final = timedelta(days=1)
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_ZONE: Final = re.compile(r"[A-Z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9_+-]{1,31}){0,2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """When, on which days, and for which channels."""

    start: time
    end: time
    channels: tuple[str, ...] = DISTURBING
    days: tuple[int, ...] = EVERY_DAY
    """Days on which a window begins; 0 is Monday."""

    def to_json(self) -> dict[str, Any]:
        """As `parse` reads it."""
        return {
            "from": self.start.isoformat("minutes"),
            "to": self.end.isoformat("minutes"),
            "channels": list(self.channels),
            "days": list(self.days),
        }


def parse(raw: object) -> QuietHours | str:
    """`{"from": "22:00", "to": "07:00", "channels"?: […], "days"?: [0-6]}`, or what is wrong with it."""
    if not isinstance(raw, Mapping) or not {"from", "to"} <= set(raw) <= {"from", "to", "channels", "days"}:
        return "must have from and to, and may have channels and days"
    start, end = _time(raw["from"]), _time(raw["to"])
    if start is None or end is None:
        return "must have times of the form HH:MM"
    channels = _all_of(raw.get("channels", list(DISTURBING)), HOLDABLE)
    if channels is None:
        return f"must have channels that are some of {', '.join(HOLDABLE)}"
    days = _all_of(raw.get("days", list(EVERY_DAY)), EVERY_DAY)
    if days is None:
        return "must have days that are some of 0 (Monday) to 6"
    if start == end and len(days) == len(EVERY_DAY):
        return "must end some time: the whole of every day is quiet"
    return QuietHours(start, end, channels, tuple(sorted(days)))


def _time(raw: object) -> time | None:
    return time.fromisoformat(raw) if isinstance(raw, str) and _CLOCK.fullmatch(raw) else None


def _all_of(raw: object, known: tuple[Any, ...]) -> tuple[Any, ...] | None:
    if not isinstance(raw, list) or not raw or any(type(v) is not type(known[0]) or v not in known for v in raw):
        return None
    return tuple(dict.fromkeys(raw))


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo | None:
    """A time zone of the IANA database by its name; None when there is none such."""
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a zone; a folder of zones
        return None


def quiet_until(hours: QuietHours, zone: str, now: float) -> float | None:
    """When the quiet that reigns at `now` ends; None when it does not reign. Unix time in seconds, never in the past.

    A zone that the database does not know (any more) is UTC.
    """
    where = zone_of(zone) or UTC
    until = now
    # One window may end in the next: at most seven of them in a row, for not all days are wholly quiet.
    while (end := _end_of_window(hours, where, until)) is not None:
        until = end
    return None if until == now else until


def _end_of_window(hours: QuietHours, zone: ZoneInfo | Any, now: float) -> float | None:
    today = datetime.fromtimestamp(now, zone).date()
    ends = [
        end
        for day in (today - 2 * _DAY, today - _DAY, today)  # two: a zone may skip a day
        if day.weekday() in hours.days
        for start, end in [_window(hours, zone, day)]
        if start <= now < end
    ]
    return max(ends, default=None)


def _window(hours: QuietHours, zone: ZoneInfo | Any, day: date) -> tuple[float, float]:
    last_day = day if hours.start < hours.end else day + _DAY
    return _moment(datetime.combine(day, hours.start), zone, 0), _moment(datetime.combine(last_day, hours.end), zone, 1)


def _moment(wall: datetime, zone: ZoneInfo | Any, fold: int) -> float:
    """When a clock on the wall shows a time: the first time or (`fold` 1) the last; or when it skips it."""
    moment = wall.replace(tzinfo=zone, fold=fold).timestamp()
    if datetime.fromtimestamp(moment, zone).replace(tzinfo=None) == wall:
        return moment
    # PEP 495: the two readings of a time that does not come lie on either side of the change.
    before, after = sorted(wall.replace(tzinfo=zone, fold=f).timestamp() for f in (0, 1))
    return _change(zone, int(before), int(after), wall)


def _change(zone: ZoneInfo | Any, before: int, after: int, wall: datetime) -> float:
    """The first second, between two, at which a clock shows more than `wall`."""
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).replace(tzinfo=None) > wall:
            after = middle
        else:
            before = middle
    return float(after)
