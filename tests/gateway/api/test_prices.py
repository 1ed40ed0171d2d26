"""The demo page's price events: in the order of time, and each of them an event that the validator takes."""

from __future__ import annotations

from typing import Any

import pytest

from bus.event import Event, parse
from gateway.api.price_feed import installed_steps
from gateway.api.prices import DROP, TICK, Step, events_of, read_steps, topic_of

LINES = ["symbol,date,price", "B,Feb 1 2000,9", "A,Jan 1 2000,10.5", "B,Jan 1 2000,20"]


def of_type(kind: str, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def test_rows_become_steps_in_the_order_of_time() -> None:
    assert read_steps(LINES) == [Step("2000-01-01", {"A": 10.5, "B": 20.0}), Step("2000-02-01", {"B": 9.0})]


@pytest.mark.parametrize("line", ["A,Smarch 1 2000,1", "A,Jan 1,1", "A,Jan 1 2000,dear"])
def test_a_file_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_steps([LINES[0], line])


def test_every_price_is_an_ephemeral_tick_for_its_topic() -> None:
    ticks = of_type(TICK, list(events_of(Step("2000-01-01", {"A": 10.0, "B": 5.0}), {}, 10, ())))
    assert [tick["to"]["topics"] for tick in ticks] == [[topic_of("A")], [topic_of("B")]]
    assert all(tick["ephemeral"] for tick in ticks)


def test_a_fall_beyond_the_limit_is_news_for_topic_and_users() -> None:
    (drop,) = of_type(DROP, list(events_of(Step("2000-02-01", {"A": 8.0}), {"A": 10.0}, 10, ("alice",))))
    assert drop["to"] == {"topics": ["market:A"], "users": ["alice"]}
    assert drop["data"] == {"symbol": "A", "price": 8.0, "change": -20.0, "date": "2000-02-01", "was": 10.0}
    assert "ephemeral" not in drop


def test_a_fall_for_no_user_names_none() -> None:
    (drop,) = of_type(DROP, list(events_of(Step("2000-02-01", {"A": 8.0}), {"A": 10.0}, 10, ())))
    assert drop["to"] == {"topics": ["market:A"]}


def test_a_smaller_fall_is_no_news() -> None:
    assert not of_type(DROP, list(events_of(Step("2000-02-01", {"A": 9.0}), {"A": 10.0}, 10, ())))


def test_the_installed_data_gives_valid_events_and_some_falls() -> None:
    before: dict[str, float] = {}
    drops = 0
    for step in (steps := installed_steps()):
        for raw in events_of(step, before, 10, ("alice", "bob")):
            assert isinstance(parse(raw, default_id="x", default_source="x", now=0.0), Event)
            drops += raw["type"] == DROP
        before.update(step.prices)
    assert len(steps) == 123
    assert drops > 20
