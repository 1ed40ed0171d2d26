"""Gives planned events to their audiences: all publish scripts of a batch in one go, then all entries for nodes.

Two round trips for most batches; more for thousands of people, so that nobody waits behind all of them, and one more
where a topic has durable followers. Every step can be repeated: `seen` remembers what was given, and a gateway drops
what comes twice.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from secrets import token_hex
from types import MappingProxyType
from typing import Final

from bus.clock import Clock
from bus.consumer import blame
from bus.door import Door, Place
from bus.errors import BusError, Refused
from bus.outcome import Done, Outcome, Retry, Unavailable
from bus.pipe import Call, Pipe, Reply
from fanout.audience import Rules
from fanout.graves import Graves
from fanout.plan import (
    Current,
    Delivery,
    Given,
    Placed,
    Placement,
    Planned,
    Publish,
    deliveries,
    kind_of,
    listed,
    placement,
    plan,
    plan_for,
    publish_call,
    spread_call,
    towards,
)
from fanout.settings import FanoutSettings
from fanout.stats import Stats

AT_ONCE: Final = 8
"""Batches under way: enough to keep Redis busy, too few for one to wait longer in its line than a lease lasts."""
HANGING: Final = 0.25
"""Seconds after which a batch that is not done counts no more among those."""

TOGETHER: Final = 1_000
"""Recipients given to Redis in one go: some 20 ms of its time, which is what an event for one person waits at most."""

ANY: Final[Mapping[int, str]] = MappingProxyType({})
"""Whichever generation there is."""
STALE: Final = "STALE"
"""A partition began another generation: what it was given shortly before may be lost, and goes before all else."""

BEHIND: Final = "an earlier event of the batch did not get through"

Ring = Callable[[str, int], None]
"""Tells a worker that a timer was set in a partition of its that is due before all others there."""


@dataclass(slots=True)
class _Task:
    """One event on its way: what came of it so far. `generations`: those that it is meant for, by partition."""

    planned: Planned
    generations: Mapping[int, str]
    outcome: Outcome = field(default_factory=Done)
    places: list[Placed] = field(default_factory=list)
    followed: set[str] = field(default_factory=set)
    failed: int = 0

    def add(self, placement: Placement) -> None:
        self.places += placement.places
        self.followed.update(placement.followed)
        self.failed += placement.failed


class Publisher:
    """One per worker."""

    def __init__(
        self,
        pipe: Pipe,
        rules: Rules,
        settings: FanoutSettings,
        graves: Graves,
        clock: Clock,
        stats: Stats,
        ring: Ring,
    ) -> None:
        self._pipe, self._rules, self._settings, self._graves = pipe, rules, settings, graves
        self._clock, self._stats, self._ring = clock, stats, ring
        self._run, self._epochs = token_hex(4), count()
        self._door = Door(AT_ONCE, HANGING)
        self._nodes = listed(())

    def set_nodes(self, nodes: Iterable[str]) -> None:
        """The gateway nodes that live: who has a connection to none of these is offline."""
        self._nodes = listed(nodes)

    async def publish(
        self, currents: Sequence[Current], generations: Mapping[int, str] = ANY, only: Container[int] | None = None
    ) -> list[Outcome]:
        """Publish events in order; an outcome for each.

        A partition is given them only while its generation is the one in `generations`. `only`: partitions of which
        it is not known whether they still have them; others are left out.
        """
        planned = plan(currents, self._rules)
        if only is not None:
            planned = [towards(one, only) for one in planned]
        return await self._publish(planned, generations, only)

    async def give(self, current: Current, users: Sequence[str]) -> Outcome:
        """Give an event to these users, whomever its producer named: live, unread, and the ladder, as ever.

        Those who were given it before only have it on their sockets again. Best for users of one partition, some
        hundreds at a time: each of their partitions costs a call.
        """
        (outcome,) = await self._publish([plan_for(current, users, self._rules)], ANY, None)
        return outcome

    async def _publish(
        self, planned: Sequence[Planned], generations: Mapping[int, str], only: Container[int] | None
    ) -> list[Outcome]:
        tasks = [_Task(one, generations) for one in planned]
        if only is not None:
            # Whether somebody follows them is known where they live; nobody is asked but those who may have lost it.
            for task in tasks:
                task.followed.update(task.planned.event.topics)
        async with Place(self._door).inside():  # what hangs is not waited for: it may be another master's
            await self._append(tasks)
            await self._spread(tasks, only)
            await self._relay(tasks)
        return [task.outcome for task in tasks]

    # Inboxes and logs ------------------------------------------------------------------------------------------------

    async def _append(self, tasks: Sequence[_Task]) -> None:
        for calls in _slices([(task, publish) for task in tasks for publish in task.planned.calls]):
            replies = await self._pipe.scripts(self._publish_call(task, publish) for task, publish in calls)
            for (task, publish), reply in zip(calls, replies, strict=True):
                self._appended(task, publish, reply)
        for task in tasks:
            if task.failed:
                task.outcome = _worse(task.outcome, Retry(f"{task.failed} recipient(s) have keys of another type"))

    def _appended(self, task: _Task, publish: Publish, reply: Reply) -> None:
        if isinstance(reply, BusError):
            task.outcome = _worse(task.outcome, _blame(reply))
            return
        found = placement(publish, reply)
        task.add(found)
        if found.worker:
            self._ring(found.worker, publish.group.partition)

    def _publish_call(self, task: _Task, publish: Publish) -> Call:
        epoch = f"{self._run}{next(self._epochs):x}"
        given = Given(epoch, self._settings.dedupe_ttl, self._nodes, self._clock.wall(), task.generations)
        return publish_call(task.planned, publish, self._rules.keys, given)

    async def note_lapsed(self, partition: int, refs: Sequence[str]) -> None:
        """So that whoever asks what became of these events, of which there is no other trace, is told."""
        counts = [self._rules.keys.counts(partition, ref) for ref in refs]
        commands = [("HSET", key, "lapsed", 1) for key in counts]
        await self._pipe.asks([*commands, *(("EXPIRE", key, self._settings.dedupe_ttl) for key in counts)])

    # Durable followers -----------------------------------------------------------------------------------------------

    async def _spread(self, tasks: Sequence[_Task], only: Container[int] | None) -> None:
        """Begin the walks over those who follow a topic: in every partition, for they live with themselves."""
        keys, now = self._rules.keys, self._clock.wall()
        calls = [
            (task, spread_call(task.planned, topic, partition, keys, now))
            for task in tasks
            if kind_of(task.planned.event) == "notification"
            for topic in sorted(task.followed)
            for partition in range(keys.partitions)
            if only is None or partition in only
        ]
        if not calls:
            return
        replies = await self._pipe.scripts(call for _, call in calls)
        for (task, _), reply in zip(calls, replies, strict=True):
            if isinstance(reply, BusError):
                task.outcome = _worse(task.outcome, _blame(reply))

    # Gateway nodes ---------------------------------------------------------------------------------------------------

    async def _relay(self, tasks: Sequence[_Task]) -> None:
        entries = [(task, delivery) for task in tasks for delivery in deliveries(task.planned, task.places)]
        if not entries:
            return
        replies = await self._pipe.scripts(self._deliver_call(delivery) for _, delivery in entries)
        for (task, delivery), reply in zip(entries, replies, strict=True):
            if isinstance(reply, BusError):
                self._not_relayed(task, reply)
            elif reply:
                self._stats.relayed += 1
                self._graves.answered(delivery.node)
            elif self._graves.silent(delivery.node):
                self._forget(delivery)

    async def tell(self, entries: Sequence[Delivery]) -> None:
        """Give nodes entries that are ready. Raises `BusError`, but not for a node whose own stream is broken."""
        for reply in await self._pipe.scripts(map(self._deliver_call, entries)) if entries else ():
            if isinstance(reply, BusError) and not isinstance(_blame(reply), Retry):
                raise reply

    def _deliver_call(self, delivery: Delivery) -> Call:
        keys, node = self._rules.keys, delivery.node
        names = (keys.node_deliveries(node), keys.node_sequence(node), keys.node_alive(node))
        return (
            "deliver",
            names,
            (self._settings.node_stream, int(self._settings.node_stream_ttl * 1000), *delivery.fields),
        )

    def _not_relayed(self, task: _Task, error: BusError) -> None:
        outcome = _blame(error)
        if isinstance(outcome, Retry):
            # A node's broken stream is no fault of the event; the node's position checks find what it missed.
            self._stats.not_relayed += 1
        else:
            task.outcome = _worse(task.outcome, outcome)

    def _forget(self, delivery: Delivery) -> None:
        for topic in delivery.topics:
            self._pipe.post(("HDEL", self._rules.keys.routes(topic), delivery.node), _ignore)


def _slices(calls: Sequence[tuple[_Task, Publish]]) -> Iterator[list[tuple[_Task, Publish]]]:
    """The calls in their order, such that none of the slices but those of one call has more than `TOGETHER`."""
    some: list[tuple[_Task, Publish]] = []
    size = 0
    for task, publish in calls:
        size += len(publish.group.topics)
        if some and size > TOGETHER:
            yield some
            some, size = [], len(publish.group.topics)
        some.append((task, publish))
    if some:
        yield some


def _blame(error: BusError) -> Outcome:
    if isinstance(error, Refused) and error.code == "BEHIND":
        return Unavailable(BEHIND)
    if isinstance(error, Refused) and error.code == STALE:
        return Unavailable(STALE)
    return blame(error)


def _worse(first: Outcome, second: Outcome) -> Outcome:
    """What comes of an event of which parts came out differently: an outage counts no attempt, so it goes first."""
    if isinstance(first, Done):
        return second
    return second if isinstance(first, Retry) and not isinstance(second, Done) else first


def _ignore(reply: Reply) -> None:
    """A route that stays is found again with the next event."""
