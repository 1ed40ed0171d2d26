"""From a batch of events to script calls, and from their replies to what goes to which gateway node. Pure.

The calls of a batch leave together, so an earlier one may fail while a later one succeeds. Where two events of a batch
share a topic, the later call therefore names the earlier event, and the script refuses to overtake it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import orjson

from bus.codec import encode_content, publication
from bus.event import RESERVED, Event
from bus.keys import INBOX, Keys, escape
from bus.pipe import Arg, Call, Reply
from bus.walk import Follow
from bus.walk import fields as walk_fields
from fanout.audience import Group, Rules, groups
from fanout.ladder.rungs import Rung, encode_ladder, first_rung, resolve

MAX_USERS_PER_ENTRY: Final = 1_000
STATE: Final = "tocsin.state"
"""The type of what the system itself tells the devices of a person: no notification."""
MARGIN: Final = 3_600
"""How much longer than its own time an event's content is kept, in seconds: for a last call to a slow provider."""
BACK_SOON: Final = 20.0
"""Who was here so many seconds ago is about to come back: a deploy that reconnects everybody pushes to nobody."""


@dataclass(frozen=True, slots=True)
class Current:
    """An event whose time has come, and the Unix time in seconds at which it is over."""

    event: Event
    expires_at: float


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
    expires_at: float
    wanted: str
    """What publish.lua asks of a person's preferences: "", "on" or "off"."""
    ladder: bytes = b""
    content: bytes = b""
    """The event without its audience, where a step needs it."""
    first: Rung | None = None


@dataclass(frozen=True, slots=True)
class Given:
    """What a call needs beside what is planned: times in seconds, `now` Unix time."""

    epoch: str
    """For topics that have none."""
    dedupe_ttl: int
    nodes: str
    """The gateway nodes that live, as `listed` makes it."""
    now: float
    generations: Mapping[int, str] = field(default_factory=dict)
    """By partition, the one that a call is meant for; without one it is for whichever there is."""


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a topic or inbox stands after an event, and the nodes that want to know."""

    topic: str
    offset: int
    epoch: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """What one call of publish.lua did."""

    places: tuple[Placed, ...] = ()
    failed: int = 0
    """Recipients that it could do nothing for."""
    followed: tuple[str, ...] = ()
    """Topics that somebody follows durably."""
    worker: str = ""
    """Who has to look at the timers of the partition now, if anybody."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry for a node's stream, and the topics it is about."""

    node: str
    fields: tuple[Arg, ...]
    topics: tuple[str, ...]


# Before --------------------------------------------------------------------------------------------------------------


def plan(currents: Sequence[Current], rules: Rules) -> list[Planned]:
    """The calls of a batch, in the order of its events."""
    last: dict[str, str] = {}
    planned = []
    for current in currents:
        event = current.event
        fleeting = is_fleeting(event)
        calls = []
        for group in groups(event, rules):
            calls.append(Publish(group, tuple(None if fleeting else last.get(topic) for topic in group.topics)))
            if not fleeting:
                last.update(dict.fromkeys(group.topics, event.ref))
        planned.append(_planned(current, rules, tuple(calls)))
    return planned


def towards(planned: Planned, partitions: Container[int]) -> Planned:
    """The same, but only the calls for these partitions."""
    return replace(planned, calls=tuple(call for call in planned.calls if call.group.partition in partitions))


def plan_for(current: Current, users: Sequence[str], rules: Rules) -> Planned:
    """The calls that give an event to these users, whomever its producer named."""
    (planned,) = plan([replace(current, event=replace(current.event, users=tuple(users), topics=()))], rules)
    return planned


def _planned(current: Current, rules: Rules, calls: tuple[Publish, ...]) -> Planned:
    event = current.event
    ladder = resolve(event, rules.categories, rules.ladder)
    first = first_rung(ladder)
    return Planned(
        event=event,
        publication=publication(rules.worded(event)),
        calls=calls,
        expires_at=current.expires_at,
        wanted=_wanted(event, rules),
        ladder=b"" if first is None else encode_ladder(ladder),
        content=b"" if first is None else encode_content(event),
        first=first,
    )


def _wanted(event: Event, rules: Rules) -> str:
    category = rules.categories.of(event.category)
    if event.type.startswith(RESERVED) or category.required:
        return ""
    return "off" if "live" in category.off else "on"


def is_fleeting(event: Event) -> bool:
    """Whether it is for those who listen now and nobody else: no offset, no history, no order to keep."""
    return event.ephemeral or event.ttl == 0


def kind_of(event: Event) -> str:
    """What it is to publish.lua; only a "notification" is unread, followed up, and given to followers of a topic."""
    if is_fleeting(event):
        return "fleeting"
    if event.type == STATE:
        return "state"
    return "message" if event.type.startswith(RESERVED) else "notification"


def listed(nodes: Iterable[str]) -> str:
    """Nodes as publish.lua looks for them."""
    return "\n".join(("", *nodes, ""))


def publish_call(planned: Planned, publish: Publish, keys: Keys, given: Given) -> Call:
    """The arguments of publish.lua."""
    event, group, first = planned.event, publish.group, planned.first
    p, retention = group.partition, group.retention
    left = int(max(0.0, planned.expires_at - given.now)) + MARGIN if first is not None else 0
    earlier = list(dict.fromkeys(ref for ref in publish.earlier if ref is not None))
    names: list[str] = [keys.body(p, event.ref), keys.seen(p, event.ref), keys.withdrawn(p, event.ref)]
    names += [keys.lease(p), keys.timers(p), keys.counts(p, event.ref), *map(keys.log, group.topics)]
    names += [keys.seen(p, ref) for ref in earlier]
    args: list[Arg] = [planned.publication, escape(event.ref), retention.ttl, max(retention.ttl, left)]
    args += [max(given.dedupe_ttl, left), retention.size, given.epoch, kind_of(event), planned.wanted]
    args += [event.category or "", planned.content, planned.ladder, round(planned.expires_at * 1000)]
    args += ["", 0] if first is None else [first.index, first.wait * 1000]
    args += [round(BACK_SOON * 1000), given.generations.get(p, ""), given.nodes]
    args += [len(group.topics), *group.topics]
    for number, ref in enumerate(publish.earlier, 1):
        if ref is not None:
            args += [number, earlier.index(ref) + 1]
    return "publish", names, args


def spread_call(planned: Planned, topic: str, partition: int, keys: Keys, now: float) -> Call:
    """The arguments of spread.lua: have those who follow the topic and live in this partition get the event too."""
    ref = planned.event.ref
    names = [keys.withdrawn(partition, ref), keys.body(partition, ref)]
    names += [keys.bulk(partition), keys.members(topic, partition)]
    left = int(max(0.0, planned.expires_at - now)) + MARGIN
    args: list[Arg] = [encode_content(planned.event), round(planned.expires_at * 1000), left]
    return "spread", names, [*args, *walk_fields(Follow(ref, topic))]


# After ---------------------------------------------------------------------------------------------------------------


def placement(publish: Publish, reply: Sequence[Reply]) -> Placement:
    """What publish.lua answered. A withdrawn event has no reply."""
    if not reply:
        return Placement()
    worker, *answers = reply
    places, followed, failed = [], [], 0
    for topic, (offset, *rest) in zip(publish.group.topics, answers, strict=True):
        if offset < 0:
            failed += 1
            continue
        epoch, follows, *nodes = rest
        places.append(Placed(topic, offset, epoch.decode(), tuple([node.decode() for node in nodes])))
        if follows:
            followed.append(topic)
    return Placement(tuple(places), failed, tuple(followed), worker.decode())


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
