"""A fan-out worker: leases, batches in order, the ladder's timers, and what a failover may have lost given again.

The plan, the settlement, the retry policy, the owner of a partition and the ladder's moves are the product's own; a
crash may come between any two steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from bus.errors import BusError
from bus.event import Event
from bus.outcome import Done, Outcome, Retry, Unavailable
from bus.people.categories import Categories
from bus.policy import FANOUT, Defer
from bus.registry import owned_by
from bus.settlement import Buried
from fanout.audience import Rules
from fanout.ladder.due import DueStep
from fanout.plan import Current, Placed, Planned, deliveries, placement, plan
from tests.simulation.cores import Cores
from tests.simulation.kernel import Ask, Kernel, Process, together
from tests.simulation.ledger import POISON, Ledger
from tests.simulation.link import Link
from tests.simulation.store import Behind, Entry, Fenced, Store

LEASE_TTL: Final = 5.0
WORKER_TTL: Final = 5.0
BEAT: Final = 2.0
BATCH: Final = 5
PATIENCE: Final = 8.0
"""Longest wait for a bell."""
EVENTS: Final = "events"
TIMERS: Final = "timers"


class Lane:
    """A partition under a lease."""

    def __init__(self, partition: int, fence: int) -> None:
        self.partition, self.fence = partition, fence
        self.stopped = False
        self.checked = -1
        """After how many arrivals at a master the generations were looked at."""


class Leaseholder(Process):
    """Holds the leases that rendezvous hashing gives it, and works a lane under each."""

    kind = ""
    lanes: Sequence[str] = ()

    def __init__(self, kernel: Kernel, name: str, store: Store, ledger: Ledger, cores: Cores) -> None:
        super().__init__(kernel, name)
        self.store, self.ledger, self.cores = store, ledger, cores
        self.link = Link(kernel, store, self)
        self._held: dict[tuple[str, int], Lane] = {}
        self.stopping = False
        self.spawn(self._hold())

    @property
    def links(self) -> tuple[Link, ...]:
        return (self.link,)

    async def _hold(self) -> None:
        store = self.store
        while not self.stopping:
            # The list of the living has a master of its own, which no run takes away.
            mine = _owned(self.name, tuple(store.register(self.kind, self.name, WORKER_TTL)), len(store.parts))
            wanted = [(lane, p) for lane in self.lanes for p in sorted(mine)]
            for name, p in self._held.keys() - wanted:
                self._held[name, p].stopped = True
            fences = await together([self._lease(name, p) for name, p in wanted])
            for (name, p), fence in zip(wanted, fences, strict=True):
                self._leased(name, p, fence)
            await self.sleep(BEAT)

    def _lease(self, name: str, p: int) -> Ask:
        return self.link.ask(p, lambda: self.store.lease(p, name, self.name, LEASE_TTL))

    def _leased(self, name: str, p: int, fence: int | BusError) -> None:
        lane = self._held.get((name, p))
        if isinstance(fence, BusError) or (lane is not None and not lane.stopped and lane.fence == fence):
            return
        if lane is not None:
            lane.stopped = True
        if fence:
            self.kernel.say(self.name, f"has {name} {p} under {fence}")
            lane = self._held[name, p] = Lane(p, fence)
            self.work(name, lane)

    def work(self, name: str, lane: Lane) -> None:
        raise NotImplementedError

    async def give_back(self, name: str, lane: Lane) -> None:
        p, fence = lane.partition, lane.fence
        await self.link.ask(p, lambda: self.store.release(p, name, self.name, fence))
        if self._held.get((name, p)) is lane:
            del self._held[name, p]

    def wait(self, place: object, seconds: float) -> Ask:
        """Until a bell rings, or the time is over."""

        def start(resume: Any) -> None:
            over = [False]

            def once() -> None:
                if not over[0]:
                    over[0] = True
                    resume(None)

            self.store.bells.setdefault(place, []).append(lambda: self.kernel.at(0.001, once))
            self.kernel.at(seconds, once)

        return Ask(start)


_owned = lru_cache(maxsize=1_000)(owned_by)


class Worker(Leaseholder):
    """One fan-out worker."""

    kind = "workers"
    lanes = (EVENTS,)

    def __init__(self, kernel: Kernel, name: str, store: Store, ledger: Ledger, cores: Cores, rules: Rules) -> None:
        self._rules = rules
        super().__init__(kernel, name, store, ledger, cores)

    def work(self, name: str, lane: Lane) -> None:
        self.spawn(self._events(lane))
        self.spawn(self._timers(lane))

    # Events ----------------------------------------------------------------------------------------------------------

    async def _events(self, lane: Lane) -> None:
        p = lane.partition
        while not lane.stopped:
            try:
                await self._replay(lane)
                attempts, entries = await self._run(lane, lambda: self.store.take(*self._fence(lane), BATCH))
                if entries:
                    outcomes = await self._handle([entry.event for entry in entries])
                    await self._settle(lane, entries, outcomes, attempts)
                else:
                    await self.wait((EVENTS, p), PATIENCE)
            except Fenced:
                lane.stopped = True
            except BusError:
                await self.sleep(0.3)
        await self.give_back(EVENTS, lane)

    def _fence(self, lane: Lane) -> tuple[int, str, int]:
        return lane.partition, self.name, lane.fence

    async def _run(self, lane: Lane, work: Any) -> Any:
        """One script; raises what it was refused with."""
        answer = await self.link.ask(lane.partition, work)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _handle(self, events: Sequence[Event]) -> list[Outcome]:
        good = [event for event in events if event.type != POISON]
        outcomes = iter(await self._publish(good))
        return [Retry("poison") if event.type == POISON else next(outcomes) for event in events]

    async def _settle(self, lane: Lane, entries: Sequence[Entry], outcomes: Sequence[Outcome], attempts: int) -> None:
        store, where = self.store, self._fence(lane)
        chance = self.kernel.chance.random()
        settled = self.cores.settle([str(entry.id) for entry in entries], outcomes, attempts, FANOUT, chance)
        for step in settled.steps:
            if isinstance(step, Buried):
                number = int(step.id)
                await self._run(lane, lambda number=number: store.bury(*where, number))
            else:
                ids = [int(entry_id) for entry_id in step.ids]
                await self._run(lane, lambda ids=ids: store.ack(*where, ids))
        if settled.held is not None:
            how, number = settled.held.settlement, int(settled.held.id)
            if isinstance(how, Defer) and how.counted:
                await self._run(lane, lambda: store.attempt(*where, number))
            await self.sleep(how.delay)

    # Publishing ------------------------------------------------------------------------------------------------------

    async def _publish(self, events: Sequence[Event], only: frozenset[int] | None = None) -> list[Outcome]:
        """All publish scripts at once, then all entries for nodes; `only`: to these partitions."""
        planned = plan([Current(event, self.wall() + 86_400) for event in events], self._rules)
        nodes = self.store.register("nodes", "", 0)
        calls = [
            (number, one, publish)
            for number, one in enumerate(planned)
            for publish in one.calls
            if only is None or publish.group.partition in only
        ]
        replies = await together(
            [
                self.link.ask(
                    publish.group.partition,
                    lambda one=one, publish=publish: self.store.publish(one, publish, nodes),
                )
                for _, one, publish in calls
            ]
        )
        outcomes: list[Outcome] = [Done() for _ in events]
        places: dict[int, list[Placed]] = {}
        for (number, _, publish), reply in zip(calls, replies, strict=True):
            if isinstance(reply, BusError | Behind):
                outcomes[number] = Unavailable("")
            else:
                places.setdefault(number, []).extend(placement(publish, reply).places)
        await self._relay(planned, places, outcomes)
        return outcomes

    async def _relay(
        self, planned: Sequence[Planned], places: dict[int, list[Placed]], outcomes: list[Outcome]
    ) -> None:
        told = [
            (number, delivery) for number, found in places.items() for delivery in deliveries(planned[number], found)
        ]
        replies = await together(
            [
                self.link.ask(
                    delivery.node, lambda delivery=delivery: self.store.deliver(delivery.node, delivery.fields)
                )
                for _, delivery in told
            ]
        )
        for (number, _), reply in zip(told, replies, strict=True):
            if isinstance(reply, BusError):
                outcomes[number] = Unavailable("")

    async def _replay(self, lane: Lane) -> None:
        """Where a partition has another generation than the entries of late were published under, give them again."""
        store, arrivals = self.store, self.link.arrivals
        if lane.checked == arrivals:
            return
        generations = await together(
            [self.link.ask(p, lambda p=p: store.generation(p)) for p in range(len(store.parts))]
        )
        for answer in generations:
            if isinstance(answer, BusError):
                raise answer
        noted, window = await self._run(lane, lambda: store.window(*self._fence(lane)))
        changed = frozenset(p for p, n in enumerate(generations) if noted.get(p, n if not noted else -1) != n)
        if changed and window and self.cores.replays:
            self.kernel.say(self.name, f"gives {len(window)} events of {lane.partition} again to {sorted(changed)}")
            good = [event for event in window if event.type != POISON]
            # One at a time: behind one that is withdrawn meanwhile, the rest of a batch would wait for ever.
            for event in good:
                (outcome,) = await self._publish([event], changed)
                if isinstance(outcome, Unavailable):
                    raise BusError("again")
        if changed or not noted:
            await self._run(lane, lambda: store.note(*self._fence(lane), dict(enumerate(generations))))
        lane.checked = arrivals

    # Timers ----------------------------------------------------------------------------------------------------------

    async def _timers(self, lane: Lane) -> None:
        while not lane.stopped:
            try:
                due = await self._run(lane, lambda: self.store.due(*self._fence(lane)))
                for item in due.items:
                    await self._take(lane, item, due.now)
                await self.wait((TIMERS, lane.partition), min(PATIENCE, due.wait + 0.001) if due.wait else PATIENCE)
            except Fenced:
                lane.stopped = True
            except BusError:
                await self.sleep(0.3)

    async def _take(self, lane: Lane, item: DueStep, now: float) -> None:
        move = self.cores.decide(item, Categories({}).of(None), "UTC", now)
        await self._run(lane, lambda: self.store.step(*self._fence(lane), item, move))
