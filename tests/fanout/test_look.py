"""What an entry means."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bus.outcome import Expired, Rejected
from bus.queue import Entry
from fanout.look import AT_ONCE, Later, accepted_at, look
from fanout.plan import Current

NOW = 1_800_000_000.0
EVENT = {"type": "x", "to": {"users": ["alice"]}}


def entry(event: Any, *, age: float = 0.0, **fields: bytes) -> Entry:
    body = orjson.dumps(event)
    return Entry(
        f"{round((NOW - age) * 1000)}-3", {b"e": body} | {name.encode(): value for name, value in fields.items()}
    )


def test_an_event_is_published_under_its_position_where_it_has_no_id() -> None:
    found = look(entry(EVENT), 7, NOW)
    assert isinstance(found, Current)
    assert (found.event.id, found.event.created_at) == (f"{round(NOW * 1000)}-3.7", NOW)
    assert found.expires_at == NOW + 86_400


def test_what_is_no_event_is_rejected() -> None:
    assert isinstance(look(entry({}), 7, NOW), Rejected)
    assert isinstance(look(Entry("1-1", {b"x": b"y"}), 7, NOW), Rejected)


@pytest.mark.parametrize(
    ("ttl", "age", "expired"), [(60, 59, False), (60, 61, True), (0, AT_ONCE - 1, False), (0, AT_ONCE + 1, True)]
)
def test_its_time_runs_from_when_it_was_accepted(ttl: int, age: float, expired: bool) -> None:
    old = EVENT | {"ttl": ttl, "time": "2001-02-03T04:05:06Z"}
    assert isinstance(look(entry(old, age=age), 7, NOW), Expired) is expired


def test_an_event_for_later_waits_and_then_comes() -> None:
    event = EVENT | {"at": "2027-01-15T08:01:00Z", "ttl": 60}
    waiting = look(entry(event, p=b"shop\nkeeper"), 7, NOW)
    assert isinstance(waiting, Later)
    assert waiting.at == NOW + 60
    origin = f"{round(NOW * 1000)}-3"
    assert waiting.member == b"event\n" + origin.encode() + b"\nshop keeper\n" + orjson.dumps(event)
    due = look(entry(event, age=-60, d=origin.encode()), 7, NOW + 59)  # our clock lags behind Redis's
    assert isinstance(due, Current)
    assert (due.event.id, due.expires_at) == (origin + ".7", NOW + 120)
    assert isinstance(look(entry(event, age=-60, d=origin.encode()), 7, NOW + 119), Current)
    assert isinstance(look(entry(event, age=-60, d=origin.encode()), 7, NOW + 121), Expired)
    assert isinstance(look(entry(event, d=b"nonsense"), 7, NOW), Later)


def test_ids_made_by_hand_say_nothing_about_acceptance() -> None:
    assert accepted_at(f"{round(NOW * 1000)}-0", NOW) == NOW
    assert accepted_at("5-0", NOW) == NOW
    assert accepted_at(f"{round(NOW * 2000)}-0", NOW) == NOW


def test_entries_of_two_partitions_are_two_events_though_their_ids_are_one() -> None:
    event = {"type": "t", "to": {"users": ["alice"]}}
    one, other = (look(entry(event), partition, NOW) for partition in (3, 4))
    assert isinstance(one, Current)
    assert isinstance(other, Current)
    assert one.event.ref != other.event.ref
