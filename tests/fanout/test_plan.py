"""From events to calls, and from replies to entries for nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import encode_content
from bus.event import MESSAGE, Event, Step
from bus.keys import Keys, escape
from bus.namespaces import Namespaces
from bus.people.categories import Categories
from fanout.audience import Retention, Rules
from fanout.ladder.rungs import encode_ladder
from fanout.plan import (
    MARGIN,
    MAX_USERS_PER_ENTRY,
    Current,
    Given,
    Placed,
    Placement,
    Planned,
    deliveries,
    is_fleeting,
    kind_of,
    listed,
    placement,
    plan,
    plan_for,
    publish_call,
    spread_call,
)

KEYS = Keys("t", 4)
CATEGORIES = Categories({"codes": {"required": True}, "ads": {"off": ["live"]}, "inbox": {"ladder": [{"via": "live"}]}})
RULES = Rules(KEYS, Namespaces({}), Retention(1_000, 86_400), CATEGORIES)
NOW = 1_000.0
GIVEN = Given("ep", 99, listed(("n1", "n2")), NOW)


def event(name: str, *topics: str, users: Sequence[str] = (), **more: Any) -> Event:
    return Event(name, "shop", "x", 12.5, users=tuple(users), topics=topics, data={"n": name}, **more)


def planned_all(*events: Event, rules: Rules = RULES) -> list[Planned]:
    return plan([Current(one, NOW + 60) for one in events], rules)


def only(planned: Sequence[Planned]) -> Planned:
    (one,) = planned
    return one


def test_events_are_planned_one_by_one() -> None:
    first, second = planned_all(event("1", "news:a"), event("2", "news:b"))
    assert (first.event.id, second.event.id) == ("1", "2")
    assert orjson.loads(b"{%s}" % first.publication)["data"]["id"] == "1"
    assert [call.earlier for call in (*first.calls, *second.calls)] == [(None,), (None,)]
    assert plan([], RULES) == []


def test_an_event_names_the_one_before_it_in_each_topic() -> None:
    events = [event("1", "news:a"), event("2", "news:b"), event("3", "news:a", "news:b"), event("4", "news:a")]
    earlier = {
        (p.event.id, topic): ref
        for p in planned_all(*events)
        for call in p.calls
        for topic, ref in zip(call.group.topics, call.earlier, strict=True)
    }
    assert earlier == {
        ("1", "news:a"): None,
        ("2", "news:b"): None,
        ("3", "news:a"): events[0].ref,
        ("3", "news:b"): events[1].ref,
        ("4", "news:a"): events[2].ref,
    }


def test_what_is_for_now_only_waits_for_nobody_and_nobody_for_it() -> None:
    now = replace(event("2", "news:a"), ephemeral=True)
    planned = planned_all(event("1", "news:a"), now, replace(now, id="3", ephemeral=False, ttl=0), event("4", "news:a"))
    assert [call.earlier[0] for p in planned for call in p.calls] == [None, None, None, planned[0].event.ref]
    assert [is_fleeting(p.event) for p in planned] == [False, True, True, False]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), max_size=8))
def test_the_chain_of_a_topic_is_the_order_of_its_events(audiences: list[list[str]]) -> None:
    events = [event(str(n), *(f"news:{t}" for t in topics)) for n, topics in enumerate(audiences)]
    last: dict[str, str] = {}
    for planned in planned_all(*events):
        for call in planned.calls:
            for topic, ref in zip(call.group.topics, call.earlier, strict=True):
                assert ref == last.get(topic)
                last[topic] = planned.event.ref


def test_an_event_can_be_given_to_others_than_it_names() -> None:
    planned = plan_for(Current(event("1", "news:a", users=["zoe"]), NOW), ["alice"], RULES)
    assert [call.group.topics for call in planned.calls] == [("@alice",)]
    assert planned.event.ref == event("1").ref


# The call ------------------------------------------------------------------------------------------------------------


def test_the_arguments_of_publish() -> None:
    first, second = event("1", users=["alice"]), event("2", users=["alice"], category="orders")
    planned = planned_all(first, second)[1]
    p = KEYS.partition("@alice")
    name, keys, args = publish_call(planned, planned.calls[0], KEYS, GIVEN)
    assert name == "publish"
    assert list(keys) == [
        KEYS.body(p, second.ref),
        KEYS.seen(p, second.ref),
        KEYS.withdrawn(p, second.ref),
        KEYS.lease(p),
        KEYS.timers(p),
        KEYS.counts(p, second.ref),
        KEYS.log("@alice"),
        KEYS.seen(p, first.ref),
    ]
    assert list(args) == [
        *(planned.publication, escape(second.ref), 86_400, 86_400, MARGIN + 60, 1_000, "ep", "notification", "on"),
        *("orders", encode_content(second), encode_ladder(RULES.ladder), 1_060_000, 1, 30_000, 20_000, ""),
        *("\nn1\nn2\n", 1, "@alice", 1, 1),
    ]


def test_what_nobody_follows_up_takes_no_content_along() -> None:
    planned = only(planned_all(event("1", users=["alice"], ephemeral=True)))
    _, keys, args = publish_call(planned, planned.calls[0], KEYS, GIVEN)
    assert len(keys) == 7
    assert list(args)[2:16] == [
        86_400,
        86_400,
        99,
        1_000,
        "ep",
        "fleeting",
        "on",
        "",
        b"",
        b"",
        1_060_000,
        "",
        0,
        20_000,
    ]
    live_only = only(planned_all(event("1", users=["alice"], category="inbox")))
    assert (live_only.content, live_only.ladder, live_only.first) == (b"", b"", None)


def test_content_outlives_an_inbox_that_is_kept_for_less() -> None:
    rules = replace(RULES, inbox=Retention(10, 60))
    planned = only(planned_all(event("1", users=["alice"], ladder=(Step("email"),)), rules=rules))
    _, _, args = publish_call(planned, planned.calls[0], KEYS, replace(GIVEN, now=NOW - 40))
    assert list(args)[2:5] == [60, MARGIN + 100, MARGIN + 100]
    assert list(args)[13:15] == [0, 0]


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        ({}, "on"),
        ({"category": "orders"}, "on"),
        ({"category": "ads"}, "off"),
        ({"category": "codes"}, ""),
        ({"type": MESSAGE}, ""),
    ],
)
def test_what_is_asked_of_preferences(more: dict[str, Any], wanted: str) -> None:
    one = replace(event("1", users=["alice"]), **more)
    assert only(planned_all(one)).wanted == wanted


def test_kinds() -> None:
    kinds = [
        kind_of(replace(event("1"), **more))
        for more in ({}, {"type": MESSAGE}, {"type": "tocsin.state"}, {"type": MESSAGE, "ttl": 0}, {"ephemeral": True})
    ]
    assert kinds == ["notification", "message", "state", "fleeting", "fleeting"]


def test_a_template_words_what_is_shown_and_the_steps_word_theirs_themselves() -> None:
    rules = replace(RULES, worded=lambda event: replace(event, title="Hello"))
    planned = only(planned_all(event("1", users=["alice"], template="hello"), rules=rules))
    assert orjson.loads(b"{%s}" % planned.publication)["data"]["title"] == "Hello"
    assert "title" not in orjson.loads(planned.content)


def test_a_walk_finds_the_event_in_its_partition() -> None:
    one = event("1", "news:a")
    name, keys, args = spread_call(only(planned_all(one)), "news:a", 3, KEYS, NOW)
    assert name == "spread"
    members = KEYS.members("news:a", 3)
    assert list(keys) == [KEYS.withdrawn(3, one.ref), KEYS.body(3, one.ref), KEYS.bulk(3), members]
    assert list(args) == [encode_content(one), 1_060_000, MARGIN + 60, "k", "follow", "e", one.ref, "t", "news:a"]


# The answer ----------------------------------------------------------------------------------------------------------


def test_what_publish_answers() -> None:
    rules = replace(RULES, keys=Keys("t", 1))
    call = only(planned_all(event("1", "news:a", "news:a2", "news:a3"), rules=rules)).calls[0]
    found = placement(call, [b"w1", [3, b"ep", 1, b"n1", b"n2"], [-1, b"WRONGTYPE"], [0, b"", 0]])
    places = (Placed("news:a", 3, "ep", ("n1", "n2")), Placed("news:a3", 0, "", ()))
    assert found == Placement(places, 1, ("news:a",), "w1")
    assert placement(call, []) == Placement()


def test_a_node_gets_an_entry_per_topic_and_one_for_all_its_users() -> None:
    planned = only(planned_all(event("1", "news:a", users=["alice", "bob", "@carol"])))
    found = list(
        deliveries(
            planned,
            [
                Placed("@alice", 4, "e1", ("n1", "n2")),
                Placed("news:a", 9, "e2", ("n2",)),
                Placed("@bob", 5, "e3", ("n1",)),
                Placed("@@carol", 1, "e4", ()),
            ],
        )
    )
    common = ("b", planned.publication, "at", 12_500)
    assert [(d.node, d.fields, d.topics) for d in found] == [
        ("n2", ("k", "t", "t", "news:a", "o", 9, "ep", "e2", *common), ("news:a",)),
        ("n1", ("k", "u", "u", b'[["alice",4,"e1"],["bob",5,"e3"]]', *common), ("@alice", "@bob")),
        ("n2", ("k", "u", "u", b'[["alice",4,"e1"]]', *common), ("@alice",)),
    ]


def test_very_many_users_of_a_node_are_cut() -> None:
    planned = only(planned_all(event("1", users=["alice"])))
    places = [Placed(f"@u{n}", 1, "e", ("n1",)) for n in range(MAX_USERS_PER_ENTRY + 1)]
    assert [len(delivery.topics) for delivery in deliveries(planned, places)] == [MAX_USERS_PER_ENTRY, 1]
