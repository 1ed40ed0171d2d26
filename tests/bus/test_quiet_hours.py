"""Quiet hours by the clock on the wall, in every zone and year, also where the clock is changed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.people.quiet_hours import DISTURBING, EVERY_DAY, QuietHours, parse, quiet_until, zone_of

ZONES = sorted(name for name in available_timezones() if zone_of(name))
NIGHT = QuietHours(time(22), time(7))
EARLIEST, LATEST = datetime(1975, 1, 1, tzinfo=UTC).timestamp(), datetime(2037, 12, 31, tzinfo=UTC).timestamp()

TIMES = st.times(min_value=time(0), max_value=time(23, 59)).map(lambda t: t.replace(second=0, microsecond=0))
DAYS = st.sets(st.sampled_from(EVERY_DAY), min_size=1).map(lambda days: tuple(sorted(days)))


@st.composite
def hours(draw: st.DrawFn) -> QuietHours:
    start, end, days = draw(TIMES), draw(TIMES), draw(DAYS)
    return QuietHours(start, end, DISTURBING, days[:6] if start == end else days)


def at(text: str, zone: str) -> float:
    """Unix time of a wall clock's reading; a trailing * means the second time it shows that."""
    wall = datetime.fromisoformat(text.rstrip("*"))
    return wall.replace(tzinfo=ZoneInfo(zone), fold=int(text.endswith("*"))).timestamp()


def shown(moment: float | None, zone: str) -> str | None:
    return None if moment is None else datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat(" ", "minutes")


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-03-10 21:59", None),
        ("2026-03-10 22:00", "2026-03-11 07:00-04:00"),
        ("2026-03-11 00:00", "2026-03-11 07:00-04:00"),
        ("2026-03-11 06:59", "2026-03-11 07:00-04:00"),
        ("2026-03-11 07:00", None),
        ("2026-03-07 23:00", "2026-03-08 07:00-04:00"),  # an hour shorter: the clocks go forward at two
        ("2026-10-31 23:00", "2026-11-01 07:00-05:00"),  # an hour longer
    ],
)
def test_a_night(now: str, until: str | None) -> None:
    assert shown(quiet_until(NIGHT, "America/New_York", at(now, "America/New_York")), "America/New_York") == until


SPRING, AUTUMN = "2026-03-29", "2026-10-25"


@pytest.mark.parametrize(
    ("window", "now", "until"),
    [
        # 02:00 becomes 03:00: a time between the two is the moment of the change.
        (("01:00", "02:30"), f"{SPRING} 01:59", f"{SPRING} 03:00+02:00"),
        (("01:00", "02:30"), f"{SPRING} 03:00", None),
        (("02:30", "04:00"), f"{SPRING} 01:59", None),
        (("02:30", "04:00"), f"{SPRING} 03:00", f"{SPRING} 04:00+02:00"),
        (("02:10", "02:50"), f"{SPRING} 01:59", None),
        (("02:10", "02:50"), f"{SPRING} 03:00", None),
        # 03:00 becomes 02:00: what is between the two comes twice, and quiet lasts from the first to the last.
        (("01:00", "02:30"), f"{AUTUMN} 02:15", f"{AUTUMN} 02:30+01:00"),
        (("01:00", "02:30"), f"{AUTUMN} 02:45", f"{AUTUMN} 02:30+01:00"),
        (("01:00", "02:30"), f"{AUTUMN} 02:15*", f"{AUTUMN} 02:30+01:00"),
        (("01:00", "02:30"), f"{AUTUMN} 02:30*", None),
        (("02:30", "04:00"), f"{AUTUMN} 02:29", None),
        (("02:30", "04:00"), f"{AUTUMN} 02:10*", f"{AUTUMN} 04:00+01:00"),
    ],
)
def test_where_the_clock_is_changed(window: tuple[str, str], now: str, until: str | None) -> None:
    hours = QuietHours(time.fromisoformat(window[0]), time.fromisoformat(window[1]))
    assert shown(quiet_until(hours, "Europe/Berlin", at(now, "Europe/Berlin")), "Europe/Berlin") == until


def test_a_night_in_which_a_whole_day_is_skipped() -> None:
    # Samoa had no 30th of December 2011.
    now = at("2011-12-29 23:00", "Pacific/Apia")
    assert shown(quiet_until(NIGHT, "Pacific/Apia", now), "Pacific/Apia") == "2011-12-31 07:00+14:00"
    assert shown(quiet_until(NIGHT, "Pacific/Apia", now + 3600), "Pacific/Apia") == "2011-12-31 07:00+14:00"


def test_only_on_its_days() -> None:
    weekend = QuietHours(time(22), time(7), days=(4, 5))  # the nights that begin on Friday and Saturday
    friday = at("2026-06-05 23:00", "Asia/Tokyo")
    assert shown(quiet_until(weekend, "Asia/Tokyo", friday), "Asia/Tokyo") == "2026-06-06 07:00+09:00"
    assert quiet_until(weekend, "Asia/Tokyo", friday - 86_400) is None
    assert quiet_until(weekend, "Asia/Tokyo", friday + 2 * 86_400) is None
    sunday_morning = at("2026-06-07 06:00", "Asia/Tokyo")
    assert shown(quiet_until(weekend, "Asia/Tokyo", sunday_morning), "Asia/Tokyo") == "2026-06-07 07:00+09:00"


def test_whole_days_follow_each_other() -> None:
    weekend = QuietHours(time(0), time(0), days=(5, 6))
    saturday = at("2026-06-06 12:00", "UTC")
    assert shown(quiet_until(weekend, "UTC", saturday), "UTC") == "2026-06-08 00:00+00:00"
    almost_all = QuietHours(time(12), time(12), days=(0, 1, 2, 3, 4, 5))
    assert shown(quiet_until(almost_all, "UTC", at("2026-06-08 12:00", "UTC")), "UTC") == "2026-06-14 12:00+00:00"


def test_an_unknown_zone_is_utc() -> None:
    now = at("2026-06-05 23:00", "UTC")
    assert quiet_until(NIGHT, "Mars/Olympus", now) == quiet_until(NIGHT, "UTC", now) is not None


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../etc/passwd", "/etc/localtime", "America", "europe\0", "localtime"]
)
def test_what_is_no_zone(name: str) -> None:
    assert zone_of(name) is None


@given(hours(), st.sampled_from(ZONES), st.floats(EARLIEST, LATEST))
def test_quiet_ends_later_and_then_it_is_over(hours: QuietHours, zone: str, now: float) -> None:
    until = quiet_until(hours, zone, now)
    if until is not None:
        assert now < until <= now + 9 * 86_400
        assert quiet_until(hours, zone, until) is None


@given(hours(), st.sampled_from(ZONES), st.floats(EARLIEST, LATEST))
def test_it_is_quiet_whenever_the_clock_on_the_wall_says_so(hours: QuietHours, zone: str, now: float) -> None:
    wall = datetime.fromtimestamp(now, ZoneInfo(zone))
    quiet = quiet_until(hours, zone, now) is not None
    if quiet != _by_the_wall(hours, wall):
        # They may only differ within a day of a change of the clock.
        offsets = {(wall + timedelta(days=d)).utcoffset() for d in (-2, -1, 0, 1, 2)}
        around = {datetime.fromtimestamp(now + 3600 * h, ZoneInfo(zone)).utcoffset() for h in range(-48, 49)}
        assert len(offsets | around) > 1


def _by_the_wall(hours: QuietHours, wall: datetime) -> bool:
    today, clock = wall.weekday(), wall.time()
    if hours.start < hours.end:
        return today in hours.days and hours.start <= clock < hours.end
    late = today in hours.days and clock >= hours.start
    return late or ((today - 1) % 7 in hours.days and clock < hours.end)


PECULIAR = (
    "Australia/Lord_Howe", "Africa/Cairo", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia", "Europe/Dublin",
    "Antarctica/Troll", "America/St_Johns", "Africa/Casablanca", "Asia/Tehran", "Europe/London",
)  # fmt: skip
"""Zones that change by half an hour, by two, at midnight, by a day."""


def _changes() -> list[tuple[str, int]]:
    """The changes of their clocks: zone, and Unix time within six hours of it."""
    found = []
    for zone in PECULIAR:
        info, step = ZoneInfo(zone), 6 * 3600
        last = None
        for moment in range(int(EARLIEST), int(LATEST), step):
            offset = datetime.fromtimestamp(moment, info).utcoffset()
            if last is not None and offset != last:
                found.append((zone, moment))
            last = offset
    return found


CHANGES = _changes()


@given(st.sampled_from(CHANGES), TIMES, TIMES, st.integers(-8 * 3600, 2 * 3600))
def test_around_every_change_quiet_lasts_from_first_to_last(
    change: tuple[str, int], start: time, end: time, offset: int
) -> None:
    zone, moment = change
    if start == end:
        return
    hours, now = QuietHours(start, end), float(moment + offset)
    until = quiet_until(hours, zone, now)
    wall = datetime.fromtimestamp(now, ZoneInfo(zone))
    if _by_the_wall(hours, wall):
        assert until is not None
    if until is not None:
        assert now < until <= now + 2.1 * 86_400  # a night, and at most a day that is skipped
        last = datetime.fromtimestamp(until, ZoneInfo(zone))
        before = datetime.fromtimestamp(until - 1, ZoneInfo(zone))
        skipped = last.utcoffset() != before.utcoffset()
        assert last.time() == end or skipped


# Reading ---------------------------------------------------------------------------------------------------------


@given(hours())
def test_what_is_written_can_be_read(hours: QuietHours) -> None:
    assert parse(hours.to_json()) == hours


def test_what_is_left_out() -> None:
    assert parse({"from": "22:00", "to": "07:00"}) == NIGHT
    assert parse({"from": "00:00", "to": "00:00", "days": [6, 5, 5]}) == QuietHours(time(0), time(0), days=(5, 6))


@pytest.mark.parametrize(
    "raw",
    [
        None,
        "22:00-07:00",
        {},
        {"from": "22:00"},
        {"from": "22:00", "to": "07:00", "until": 1},
        {"from": "24:00", "to": "07:00"},
        {"from": "7:00", "to": "08:00"},
        {"from": "22:00:00", "to": "07:00"},
        {"from": 22, "to": 7},
        {"from": "22:00", "to": "07:00", "channels": ["live"]},
        {"from": "22:00", "to": "07:00", "channels": []},
        {"from": "22:00", "to": "07:00", "channels": "push"},
        {"from": "22:00", "to": "07:00", "channels": [["push"]]},
        {"from": "22:00", "to": "07:00", "days": [7]},
        {"from": "22:00", "to": "07:00", "days": [True]},
        {"from": "22:00", "to": "07:00", "days": [1.0]},
        {"from": "22:00", "to": "22:00"},
        {"from": "٢٢:00", "to": "07:00"},
    ],
)
def test_what_is_wrong_is_told(raw: Any) -> None:
    assert isinstance(parse(raw), str)
