"""Whom an event is for, in groups."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.keys import Keys, inbox_of
from bus.namespaces import Namespaces
from fanout.audience import MAX_GROUP, Group, Retention, Rules, groups

KEYS = Keys("t", 4)
INBOX = Retention(1_000, 86_400)
RULES = Rules(KEYS, Namespaces({"news": {"history_size": 7, "history_ttl": 70}, "off": {"history_ttl": 0}}), INBOX)
NAMES = st.text(min_size=1, max_size=6)


def event(*, users: tuple[str, ...] = (), topics: tuple[str, ...] = ()) -> Event:
    return Event("1", "shop", "x", 0.0, users=users, topics=topics)


def test_a_user_gets_it_in_the_inbox_and_a_topic_as_its_namespace_says() -> None:
    found = groups(event(users=("alice",), topics=("news:a", "chat:b")), RULES)
    assert found == [
        Group(KEYS.partition("@alice"), INBOX, ("@alice",)),
        Group(KEYS.partition("news:a"), Retention(7, 70), ("news:a",)),
        Group(KEYS.partition("chat:b"), Retention(100, 300), ("chat:b",)),
    ]


def test_a_log_lives_at_least_a_second() -> None:
    assert RULES.retention("off:a") == Retention(100, 1)


@given(st.lists(NAMES, max_size=30, unique=True), st.lists(NAMES.map("news:{}".format), max_size=30, unique=True))
def test_everybody_is_in_one_group_of_the_right_partition(users: list[str], topics: list[str]) -> None:
    found = groups(event(users=tuple(users), topics=tuple(topics)), RULES)
    everybody = [topic for group in found for topic in group.topics]
    assert sorted(everybody) == sorted([*map(inbox_of, users), *topics])
    assert all(KEYS.partition(topic) == group.partition for group in found for topic in group.topics)


def test_large_audiences_are_cut() -> None:
    users = tuple(f"u{n}" for n in range(2_000))
    found = groups(event(users=users), RULES)
    assert max(len(group.topics) for group in found) <= MAX_GROUP
    assert sum(len(group.topics) for group in found) == 2_000
    assert len({group.topics for group in found}) == len(found)
