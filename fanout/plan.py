"""From a batch of events to script calls, and from their replies to what goes to which gateway node. Pure.

The calls of a batch leave together, so an earlier one may fail while a later one succeeds. Where two events of a batch
share a topic, the later call therefore names the earlier event, and the script refuses to overtake it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from bus.codec import publication
from bus.event import Event
from bus.keys import INBOX, Keys, escape
from bus.pipe import Arg, Call, Reply
from fanout.audience import Group, Rules, groups

MAX_USERS_PER_ENTRY: Final = 1_000


@dataclass(frozen=True, slots=True)
class Publish:
    """One call of publish.lua: a group, and for each of its topics the earlier event that must have come first."""

    group: Group
    earlier: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Planned:
    """An event, its publication, and the calls that give it to its audience."""

    event: Event
    publication: bytes
    calls: tuple[Publish, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a topic or inbox stands after an event, and the nodes that want to know."""

    topic: str
    offset: int
    epoch: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry for a node's stream, and the topics it is about."""

    node: str
    fields: tuple[Arg, ...]
    topics: tuple[str, ...]


def plan(events: Sequence[Event], rules: Rules) -> list[Planned]:
    """The calls of a batch, in the order of its events."""
    last: dict[str, str] = {}
    planned = []
    for event in events:
        fleeting = is_fleeting(event)
        calls = []
        for group in groups(event, rules):
            calls.append(Publish(group, tuple(None if fleeting else last.get(topic) for topic in group.topics)))
            if not fleeting:
                last.update(dict.fromkeys(group.topics, event.ref))
        planned.append(Planned(event, publication(event), tuple(calls)))
    return planned


def is_fleeting(event: Event) -> bool:
    """Whether it is for those who listen now and nobody else: no offset, no history, no order to keep."""
    return event.ephemeral or event.ttl == 0


def publish_call(planned: Planned, publish: Publish, keys: Keys, *, epoch: str, dedupe_ttl: int) -> Call:
    """The arguments of publish.lua. `epoch` is for topics that have none; `dedupe_ttl` in seconds."""
    event, group = planned.event, publish.group
    p, retention = group.partition, group.retention
    earlier = list(dict.fromkeys(ref for ref in publish.earlier if ref is not None))
    names: list[str] = [keys.body(p, event.ref), keys.seen(p, event.ref), keys.withdrawn(p, event.ref)]
    args: list[Arg] = [
        planned.publication,
        escape(event.ref),
        retention.ttl,
        dedupe_ttl,
        retention.size,
        epoch,
        int(is_fleeting(event)),
    ]
    for topic, ref in zip(group.topics, publish.earlier, strict=True):
        names += (keys.log(topic), keys.meta(topic), keys.routes(topic))
        args += (topic, 0 if ref is None else earlier.index(ref) + 1)
    names += [keys.seen(p, ref) for ref in earlier]
    return "publish", names, args


def placed(publish: Publish, reply: Sequence[Reply]) -> tuple[list[Placed], int]:
    """What publish.lua did for each topic, and for how many it could do nothing. A withdrawn event has no reply."""
    found = []
    failed = 0
    for topic, (offset, epoch, *nodes) in zip(publish.group.topics, reply or (), strict=False):
        if offset < 0:
            failed += 1
        else:
            found.append(Placed(topic, offset, epoch.decode(), tuple(node.decode() for node in nodes)))
    return found, failed


def deliveries(planned: Planned, places: Sequence[Placed]) -> Iterator[Delivery]:
    """What goes to the nodes: an entry per node and topic, and one per node with all of its users."""
    common: tuple[Arg, ...] = ("b", planned.publication, "at", round(planned.event.created_at * 1000))
    users: dict[str, list[Placed]] = {}
    for place in places:
        if place.topic.startswith(INBOX):
            for node in place.nodes:
                users.setdefault(node, []).append(place)
        else:
            fields = ("k", "t", "t", place.topic, "o", place.offset, "ep", place.epoch, *common)
            for node in place.nodes:
                yield Delivery(node, fields, (place.topic,))
    for node, found in users.items():
        for start in range(0, len(found), MAX_USERS_PER_ENTRY):
            some = found[start : start + MAX_USERS_PER_ENTRY]
            listed = orjson.dumps([(place.topic.removeprefix(INBOX), place.offset, place.epoch) for place in some])
            yield Delivery(node, ("k", "u", "u", listed, *common), tuple(place.topic for place in some))
