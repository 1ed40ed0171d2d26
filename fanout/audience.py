"""Whom an event is for, grouped so that each group is one atomic call: one partition, one way to keep it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from bus.event import Event, Step
from bus.keys import Keys, inbox_of
from bus.namespaces import Namespaces
from bus.people.categories import DEFAULT_LADDER, Categories

MAX_GROUP: Final = 100
"""Recipients per script call: 3 ms of Redis's time with ladder and all, and twice that for people who are new."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How many publications a topic or inbox keeps, and for how many seconds."""

    size: int
    ttl: int


@dataclass(frozen=True, slots=True)
class Group:
    """Topics and inboxes of one partition that are kept alike, at most `MAX_GROUP`."""

    partition: int
    retention: Retention
    topics: tuple[str, ...]


def _as_it_is(event: Event) -> Event:
    return event


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides where recipients live, how long they keep what they get, and how it is followed up."""

    keys: Keys
    namespaces: Namespaces
    inbox: Retention
    categories: Categories = field(default_factory=lambda: Categories({}))
    ladder: tuple[Step, ...] = DEFAULT_LADDER
    """Of events that bring none and whose category has none."""
    worded: Callable[[Event], Event] = _as_it_is
    """Gives an event that names a template the title and body that are shown live."""

    def retention(self, topic: str) -> Retention:
        """How a topic keeps its history."""
        namespace = self.namespaces.of(topic)
        return Retention(namespace.history_size, max(1, namespace.history_ttl))


def groups(event: Event, rules: Rules) -> list[Group]:
    """The audience of an event: users by their inboxes, then topics."""
    found: dict[tuple[int, Retention], list[str]] = {}
    for topic, retention in _recipients(event, rules):
        found.setdefault((rules.keys.partition(topic), retention), []).append(topic)
    return [
        Group(partition, retention, chunk)
        for (partition, retention), topics in found.items()
        for chunk in _chunks(topics)
    ]


def _recipients(event: Event, rules: Rules) -> Iterator[tuple[str, Retention]]:
    for user in event.users:
        yield inbox_of(user), rules.inbox
    for topic in event.topics:
        yield topic, rules.retention(topic)


def _chunks(topics: list[str]) -> Iterable[tuple[str, ...]]:
    return (tuple(topics[start : start + MAX_GROUP]) for start in range(0, len(topics), MAX_GROUP))
