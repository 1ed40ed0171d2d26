"""From events to calls, and from replies to entries for nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.keys import Keys, escape
from bus.namespaces import Namespaces
from fanout.audience import Retention, Rules
from fanout.plan import MAX_USERS_PER_ENTRY, Placed, Planned, deliveries, is_fleeting, placed, plan, publish_call

KEYS = Keys("t", 4)
RULES = Rules(KEYS, Namespaces({}), Retention(1_000, 86_400))


def event(name: str, *topics: str, users: Sequence[str] = ()) -> Event:
    return Event(name, "shop", "x", 12.5, users=tuple(users), topics=topics, data={"n": name})


def only(planned: Sequence[Planned]) -> Planned:
    (one,) = planned
    return one


def test_events_are_planned_one_by_one() -> None:
    first, second = plan([event("1", "news:a"), event("2", "news:b")], RULES)
    assert (first.event.id, second.event.id) == ("1", "2")
    assert orjson.loads(b"{%s}" % first.publication)["data"]["id"] == "1"
    assert [call.earlier for call in (*first.calls, *second.calls)] == [(None,), (None,)]
    assert plan([], RULES) == []


def test_an_event_names_the_one_before_it_in_each_topic() -> None:
    events = [event("1", "news:a"), event("2", "news:b"), event("3", "news:a", "news:b"), event("4", "news:a")]
    planned = plan(events, RULES)
    earlier = {
        (p.event.id, topic): ref
        for p in planned
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
    planned = plan(
        [event("1", "news:a"), now, replace(now, id="3", ephemeral=False, ttl=0), event("4", "news:a")], RULES
    )
    assert [call.earlier[0] for p in planned for call in p.calls] == [None, None, None, planned[0].event.ref]
    assert [is_fleeting(p.event) for p in planned] == [False, True, True, False]


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True), max_size=8))
def test_the_chain_of_a_topic_is_the_order_of_its_events(audiences: list[list[str]]) -> None:
    events = [event(str(n), *(f"news:{t}" for t in topics)) for n, topics in enumerate(audiences)]
    last: dict[str, str] = {}
    for planned in plan(events, RULES):
        for call in planned.calls:
            for topic, ref in zip(call.group.topics, call.earlier, strict=True):
                assert ref == last.get(topic)
                last[topic] = planned.event.ref


def test_the_arguments_of_publish() -> None:
    first, second = event("1", users=["alice"]), event("2", users=["alice"])
    planned = plan([first, second], RULES)[1]
    p = KEYS.partition("@alice")
    name, keys, args = publish_call(planned, planned.calls[0], KEYS, epoch="ep", dedupe_ttl=99)
    assert name == "publish"
    assert list(keys) == [
        KEYS.body(p, second.ref),
        KEYS.seen(p, second.ref),
        KEYS.withdrawn(p, second.ref),
        KEYS.log("@alice"),
        KEYS.meta("@alice"),
        KEYS.routes("@alice"),
        KEYS.seen(p, first.ref),
    ]
    assert list(args) == [planned.publication, escape(second.ref), 86_400, 99, 1_000, "ep", 0, "@alice", 1]
    alone = only(plan([replace(first, ephemeral=True)], RULES))
    _, keys, args = publish_call(alone, alone.calls[0], KEYS, epoch="ep", dedupe_ttl=99)
    assert len(keys) == 6
    assert list(args)[-3:] == [1, "@alice", 0]


def test_what_publish_answers() -> None:
    call = only(plan([event("1", "news:a", "news:a2", "news:a3")], replace(RULES, keys=Keys("t", 1)))).calls[0]
    found, failed = placed(call, [[3, b"ep", b"n1", b"n2"], [-1, b"WRONGTYPE"], [0, b""]])
    assert found == [Placed("news:a", 3, "ep", ("n1", "n2")), Placed("news:a3", 0, "", ())]
    assert failed == 1
    assert placed(call, []) == ([], 0)


def test_a_node_gets_an_entry_per_topic_and_one_for_all_its_users() -> None:
    planned = only(plan([event("1", "news:a", users=["alice", "bob", "@carol"])], RULES))
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
    planned = only(plan([event("1", users=["alice"])], RULES))
    places = [Placed(f"@u{n}", 1, "e", ("n1",)) for n in range(MAX_USERS_PER_ENTRY + 1)]
    assert [len(delivery.topics) for delivery in deliveries(planned, places)] == [MAX_USERS_PER_ENTRY, 1]
