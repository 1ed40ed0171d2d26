"""What the masters hold, as far as the scripts of the bus make use of it: one call here is one script, and atomic.

A master may go away and come back as its replica, which lacks what was written last; its partitions then have the next
generation. Whatever happens to an offset, an entry or a lease is told to the ledger, which knows what may never be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bus.event import Event
from bus.keys import INBOX, inbox_of
from bus.people.preferences import Preferences
from bus.ranges import NOTHING, Ranges, covers
from fanout.job import Job
from fanout.ladder.due import Due, DueStep, Mark, Person
from fanout.ladder.moves import Move
from fanout.ladder.rungs import decode_ladder
from fanout.plan import BACK_SOON, Planned, Publish
from tests.simulation.cores import Cores
from tests.simulation.kernel import Kernel
from tests.simulation.ledger import Ledger

KEPT = 60.0
"""Seconds for which acknowledged entries stay."""
MASTERS = 3

Timer = tuple[str, str, int]
"""Event, user, index of the step."""


@dataclass
class Entry:
    """One of an ingest stream."""

    id: int
    event: Event
    acked_at: float | None = None


@dataclass
class Log:
    """A topic or an inbox: log, meta, routes, unread."""

    base: str
    generation: int
    top: int = 0
    survived: dict[str, int] = field(default_factory=dict)
    """Former epochs, and up to where their offsets still count."""
    entries: dict[int, str] = field(default_factory=dict)
    acked: Ranges = NOTHING
    unread: set[int] = field(default_factory=set)
    routes: dict[str, float] = field(default_factory=dict)
    last_seen: float = -1e9

    @property
    def epoch(self) -> str:
        return f"{self.base}.{self.generation}"

    def copy(self) -> Log:
        kept = replace(self, survived=dict(self.survived), entries=dict(self.entries))
        kept.unread, kept.routes = set(self.unread), dict(self.routes)
        return kept

    def move_on(self, generation: int) -> None:
        """To the epoch of a new generation: what came of an older one counts up to the top that survived."""
        if generation != self.generation:
            self.survived = {epoch: min(top, self.top) for epoch, top in self.survived.items()} | {self.epoch: self.top}
            self.generation = generation


@dataclass
class Waiting:
    """A job in a stream, or put off."""

    id: int
    job: Job
    channel: str
    owner: int = 0
    """Fence under which it was taken; 0: it was not."""
    deaths: int = 0
    due: float = 0.0


@dataclass
class Part:
    """All keys of one partition."""

    number: int
    generation: int = 1
    newest: int = 0
    events: list[Entry] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    read_to: int = 0
    attempts: dict[int, int] = field(default_factory=dict)
    noted: dict[int, int] = field(default_factory=dict)
    """Generations of all partitions under which the acknowledged entries were published."""
    leases: dict[str, tuple[str, int, float]] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, Planned] = field(default_factory=dict)
    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    withdrawn: set[str] = field(default_factory=set)
    logs: dict[str, Log] = field(default_factory=dict)
    timers: dict[Timer, float] = field(default_factory=dict)
    jobs: dict[int, Waiting] = field(default_factory=dict)
    dead: list[str] = field(default_factory=list)
    """References of events, and ids of jobs."""

    def copy(self) -> Part:
        changed: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, dict | list | set):
                changed[name] = value.copy()
        changed["events"] = [replace(entry) for entry in self.events]
        changed["logs"] = {topic: log.copy() for topic, log in self.logs.items()}
        changed["jobs"] = {number: replace(job) for number, job in self.jobs.items()}
        return replace(self, **changed)


@dataclass
class Stream:
    """A node's own: entries by number, and until when it counts as alive."""

    sequence: int = 0
    entries: dict[int, Mapping[bytes, bytes]] = field(default_factory=dict)
    alive_until: float = -1.0

    def copy(self) -> Stream:
        return replace(self, entries=dict(self.entries))


class Fenced(Exception):
    """The lease is another's."""


class Behind(Exception):
    """An earlier event of the batch did not get through."""


class Store:
    """All masters together. `bells` are called when something comes for a partition or a node."""

    def __init__(self, kernel: Kernel, ledger: Ledger, cores: Cores, partitions: int) -> None:
        self._kernel, self._ledger, self._cores = kernel, ledger, cores
        self.parts = [Part(number) for number in range(partitions)]
        self.streams: dict[str, Stream] = {}
        self.members: dict[str, dict[str, float]] = {"workers": {}, "senders": {}, "nodes": {}}
        self.skew = [0.0] * MASTERS
        self.bells: dict[object, list[Callable[[], None]]] = {}
        self._names = 0

    # Masters ---------------------------------------------------------------------------------------------------------

    def master_of(self, place: int | str) -> int:
        """That of a partition or a node's stream."""
        return (place if isinstance(place, int) else sum(place.encode())) % MASTERS

    def now(self, place: int | str) -> float:
        """A master's own clock."""
        return self._kernel.now + self.skew[self.master_of(place)]

    def replica(self, master: int) -> tuple[list[Part], dict[str, Stream]]:
        """What a replica has now."""
        parts = [part.copy() for part in self.parts if self.master_of(part.number) == master]
        return parts, {n: stream.copy() for n, stream in self.streams.items() if self.master_of(n) == master}

    def promote(self, master: int, replica: tuple[list[Part], dict[str, Stream]]) -> None:
        """The replica takes over: what it lacks is lost, and its partitions have the next generation."""
        parts, streams = replica
        for part in parts:
            old = self.parts[part.number]
            kept = {entry.id for entry in part.events}
            self._ledger.lost |= {entry.event.ref for entry in old.events if entry.id not in kept}
            self._ledger.undone |= old.withdrawn - part.withdrawn
            part.generation = old.generation + 1
            # Ids go on by the clock, which is ahead of all that was lost.
            part.newest = max(part.newest, old.newest)
            self.parts[part.number] = part
            for topic, log in part.logs.items():
                log.move_on(part.generation)
                for offset, ref in log.entries.items():
                    self._ledger.named[topic, log.epoch, offset] = ref
        for name in [n for n in self.streams if self.master_of(n) == master]:
            self.streams[name] = streams.get(name, Stream())

    def ring(self, place: object) -> None:
        for bell in self.bells.pop(place, ()):
            bell()

    # Who lives -------------------------------------------------------------------------------------------------------

    def register(self, kind: str, name: str, ttl: float) -> list[str]:
        living = self.members[kind]
        if name:
            living[name] = self._kernel.now + ttl
        for gone in [other for other, until in living.items() if until <= self._kernel.now]:
            del living[gone]
        return sorted(living)

    def lease(self, p: int, lane: str, owner: str, ttl: float) -> int:
        part, now = self.parts[p], self.now(p)
        held = part.leases.get(lane)
        if held is not None and held[2] > now:
            if held[0] != owner:
                return 0
            part.leases[lane] = (owner, held[1], now + ttl)
            return held[1]
        fence = part.fences[lane] = part.fences.get(lane, 0) + 1
        part.leases[lane] = (owner, fence, now + ttl)
        return fence

    def release(self, p: int, lane: str, owner: str, fence: int) -> None:
        if self.parts[p].leases.get(lane, ("", 0, 0))[:2] == (owner, fence):
            del self.parts[p].leases[lane]

    def _check(self, p: int, lane: str, owner: str, fence: int) -> Part:
        part = self.parts[p]
        held = part.leases.get(lane)
        if held is None or held[:2] != (owner, fence) or held[2] <= self.now(p):
            raise Fenced
        return part

    # Ingest ----------------------------------------------------------------------------------------------------------

    def add(self, p: int, event: Event) -> int:
        """XADD."""
        part = self.parts[p]
        part.newest += 1
        part.events.append(Entry(part.newest, event))
        self._ledger.came(event.ref, p, part.newest)
        self.ring(("events", p))
        return part.newest

    def take(self, p: int, owner: str, fence: int, room: int) -> tuple[int, list[Entry]]:
        """How often the first has failed, and the entries."""
        part = self._check(p, "events", owner, fence)
        if not part.pending:
            fresh = [entry.id for entry in part.events if entry.id > part.read_to][:room]
            part.pending = fresh
            part.read_to = max([part.read_to, *fresh])
        ids = part.pending[:room]
        found = {entry.id: entry for entry in part.events}
        return part.attempts.get(ids[0], 0) if ids else 0, [found[number] for number in ids]

    def ack(self, p: int, owner: str, fence: int, ids: Sequence[int]) -> None:
        part = self._check(p, "events", owner, fence)
        ids = [number for number in ids if number in part.pending]
        self._ledger.acked(p, ids, part.pending)
        for entry in part.events:
            if entry.id in ids:
                entry.acked_at = self.now(p)
        part.pending = [number for number in part.pending if number not in ids]
        horizon = self.now(p) - KEPT
        part.events = [e for e in part.events if e.acked_at is None or e.acked_at > horizon]

    def bury(self, p: int, owner: str, fence: int, entry_id: int) -> None:
        part = self._check(p, "events", owner, fence)
        part.dead += [entry.event.ref for entry in part.events if entry.id == entry_id]
        self.ack(p, owner, fence, [entry_id])

    def attempt(self, p: int, owner: str, fence: int, entry_id: int) -> None:
        part = self._check(p, "events", owner, fence)
        part.attempts = {entry_id: part.attempts.get(entry_id, 0) + 1}

    def window(self, p: int, owner: str, fence: int) -> tuple[dict[int, int], list[Event]]:
        """What was published lately, and under which generations."""
        part = self._check(p, "events", owner, fence)
        return dict(part.noted), [entry.event for entry in part.events if entry.acked_at is not None]

    def note(self, p: int, owner: str, fence: int, generations: Mapping[int, int]) -> None:
        self._check(p, "events", owner, fence).noted = dict(generations)

    def generation(self, p: int) -> int:
        return self.parts[p].generation

    # Publishing ------------------------------------------------------------------------------------------------------

    def log(self, part: Part, topic: str) -> Log:
        found = part.logs.get(topic)
        if found is None:
            self._names += 1
            found = part.logs[topic] = Log(f"e{self._names}", part.generation)
        found.move_on(part.generation)
        return found

    def publish(self, planned: Planned, publish: Publish, nodes: Sequence[str]) -> list[Any]:
        """publish.lua, in the form of its reply."""
        p, ref = publish.group.partition, planned.event.ref
        part = self.parts[p]
        if ref in part.withdrawn:
            return []
        for topic, earlier in zip(publish.group.topics, publish.earlier, strict=True):
            if earlier is not None and (earlier, topic) not in part.seen:
                raise Behind
        return [b"", *(self._give(part, planned, publish, topic, nodes) for topic in publish.group.topics)]

    def _give(self, part: Part, planned: Planned, publish: Publish, topic: str, nodes: Sequence[str]) -> list[Any]:
        ref, log = planned.event.ref, self.log(part, topic)
        offset = part.seen.get((ref, topic)) if self._cores.remembers else None
        if offset is None:
            offset = log.top = log.top + 1
            part.seen[ref, topic] = offset
            part.bodies.setdefault(ref, planned)
            log.entries[offset] = ref
            for old in [at for at in log.entries if at <= offset - publish.group.retention.size]:
                del log.entries[old]
            self._ledger.appended(topic, log.epoch, offset, ref)
            if topic.startswith(INBOX):
                log.unread.add(offset)
                self._follow(part, planned, topic, log, nodes)
        return [offset, log.epoch.encode(), 0, *(node.encode() for node in log.routes)]

    def _follow(self, part: Part, planned: Planned, topic: str, log: Log, nodes: Sequence[str]) -> None:
        if planned.first is None:
            return
        now = self.now(part.number)
        seen = max([log.last_seen, *log.routes.values()])
        away = not set(log.routes) & set(nodes) and now - seen > BACK_SOON
        due = now if away else now + planned.first.wait
        part.timers.setdefault((planned.event.ref, topic.removeprefix(INBOX), planned.first.index), due)
        self.ring(("timers", part.number))

    def deliver(self, node: str, fields: Sequence[Any]) -> int:
        """deliver.lua."""
        stream = self.streams.get(node)
        if stream is None or stream.alive_until <= self.now(node):
            return 0
        stream.sequence += 1
        flat = [part if isinstance(part, bytes) else str(part).encode() for part in fields]
        stream.entries[stream.sequence] = dict(zip(flat[::2], flat[1::2], strict=True))
        self.ring(("node", node))
        return stream.sequence

    # Gateway nodes ---------------------------------------------------------------------------------------------------

    def beat(self, node: str, ttl: float, read_to: int) -> tuple[int, int]:
        stream = self.streams.setdefault(node, Stream())
        lapsed = stream.alive_until <= self.now(node)
        stream.alive_until = self.now(node) + ttl
        for old in [number for number in stream.entries if number < read_to]:
            del stream.entries[old]
        return stream.sequence, int(lapsed)

    def read(self, node: str, after: int) -> list[tuple[int, Mapping[bytes, bytes]]]:
        stream = self.streams.get(node, Stream())
        return [(number, fields) for number, fields in stream.entries.items() if number > after]

    def join(self, node: str, topic: str, p: int, since: int | None, limit: int) -> list[Any]:
        """join.lua."""
        part = self.parts[p]
        log = self.log(part, topic)
        log.routes[node] = self.now(p)
        missed: list[Any] = []
        if since is not None:
            for offset in [at for at in log.entries if at > since][:limit]:
                ref = log.entries[offset]
                missed += [offset, b"" if ref in part.withdrawn else part.bodies[ref].publication]
        return [log.epoch.encode(), log.top, missed, " ".join(f"{e} {at}" for e, at in log.survived.items()).encode()]

    def leave(self, node: str, topic: str, p: int) -> int:
        log = self.log(self.parts[p], topic)
        log.last_seen = self.now(p)
        return int(log.routes.pop(node, None) is not None)

    def receipts(self, topic: str, p: int, epoch: str, acked: Ranges) -> list[Any]:
        """receipts.lua, for one person."""
        log = self.log(self.parts[p], topic)
        if log.epoch != epoch:
            counts = log.survived.get(epoch, 0)
            acked = tuple((first, min(last, counts)) for first, last in acked if first <= counts)
            if not acked:
                return [-1, b"epoch"]
        if acked and acked[-1][1] > log.top:
            return [-1, b"top"]
        log.acked = self._cores.merge(log.acked, acked)
        return [0, 1]

    def mark_read(self, topic: str, p: int, offset: int, epoch: str) -> None:
        """inbox_change.lua."""
        log = self.log(self.parts[p], topic)
        if log.epoch == epoch or offset <= log.survived.get(epoch, 0):
            log.unread.discard(offset)

    # The ladder ------------------------------------------------------------------------------------------------------

    def due(self, p: int, owner: str, fence: int) -> Due:
        """due.lua, as `fanout.ladder.due` reads it."""
        part, now = self._check(p, "events", owner, fence), self.now(p)
        items = tuple(self._due_step(part, timer) for timer, at in part.timers.items() if at <= now)
        ahead = [at for at in part.timers.values() if at > now]
        return Due(min(ahead) - now if ahead else None, now, items)

    def _due_step(self, part: Part, timer: Timer) -> DueStep:
        ref, user, index = timer
        planned = part.bodies.get(ref)
        ladder = decode_ladder(planned.ladder) if planned is not None and ref not in part.withdrawn else ()
        person = Person(user, Preferences(), "", ("",))
        return DueStep(repr(timer).encode(), ref, index, ladder, "", person, self.mark(part.number, ref, user))

    def mark(self, p: int, ref: str, user: str) -> Mark:
        """How an event stands with a person."""
        part = self.parts[p]
        offset = part.seen.get((ref, inbox_of(user)), 0)
        log = self.log(part, inbox_of(user))
        read = offset in log.entries and offset not in log.unread
        return Mark(offset, covers(log.acked, offset), read, ref in part.withdrawn)

    def step(self, p: int, owner: str, fence: int, due: DueStep, move: Move) -> int:
        """step.lua."""
        part, now = self._check(p, "events", owner, fence), self.now(p)
        timer = (due.ref, due.person.name, due.index)
        if part.timers.get(timer, now + 1) > now:
            return 0
        mark = self.mark(p, due.ref, due.person.name)
        unless = due.step.unless if due.step is not None else None
        done = unless is not None and (mark.read or (mark.acked and unless == "acked"))
        if move.jobs and (mark.withdrawn or done):
            return 0
        self._ledger.stepped(due, move)
        for job in move.jobs:
            assert due.step is not None
            self._queue(part, job, due.step.via)
        del part.timers[timer]
        if move.next is not None:
            part.timers[due.ref, due.person.name, move.next.index] = now + move.next.wait
        return 1

    def _queue(self, part: Part, job: Job, channel: str) -> None:
        self._names += 1
        part.jobs[self._names] = Waiting(self._names, job, channel)
        self.ring((channel, part.number))

    # Jobs ------------------------------------------------------------------------------------------------------------

    def take_jobs(self, p: int, channel: str, owner: str, fence: int, room: int) -> list[Waiting]:
        """First those that were taken and never settled, then those whose time has come."""
        part, now = self._check(p, channel, owner, fence), self.now(p)
        ours = [waiting for waiting in part.jobs.values() if waiting.channel == channel]
        taken = [w for w in ours if w.owner] or [w for w in ours if w.due <= now]
        for waiting in taken[:room]:
            if waiting.owner:
                waiting.deaths += 1
                self._ledger.retries[waiting.job.id] += 1
            waiting.owner = fence
        return [replace(waiting) for waiting in taken[:room]]

    def look(self, p: int, job: Job) -> tuple[bool, Ranges, bool, bytes]:
        """read_job.lua: withdrawn, acknowledged, read, the event."""
        part = self.parts[p]
        mark, log = self.mark(p, job.ref, job.user), self.log(part, inbox_of(job.user))
        self._ledger.looked(job, mark.withdrawn)
        planned = part.bodies.get(job.ref)
        return mark.withdrawn, log.acked, mark.read, planned.content if planned is not None else b""

    def settle_job(self, p: int, channel: str, owner: str, fence: int, number: int, how: Settle) -> None:
        """settle_job.lua."""
        part = self._check(p, channel, owner, fence)
        waiting = part.jobs.get(number)
        if waiting is None or waiting.owner != fence:
            return
        if how.after is not None:
            waiting.owner, waiting.due = 0, self.now(p) + how.after
            waiting.job = replace(waiting.job, attempts=how.attempts)
            return
        del part.jobs[number]
        if how.buried:
            part.dead.append(waiting.job.id)

    # Withdrawal ------------------------------------------------------------------------------------------------------

    def withdraw(self, p: int, ref: str) -> None:
        """withdraw.lua."""
        self.parts[p].withdrawn.add(ref)

    # At the end ------------------------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """What is still to be done."""
        out = []
        for part in self.parts:
            left = sum(entry.acked_at is None for entry in part.events)
            if left or part.timers or part.jobs:
                out.append(f"partition {part.number}: {left} events, {len(part.timers)} timers, {len(part.jobs)} jobs")
        return out


@dataclass(frozen=True)
class Settle:
    """What is done about a job: put off for so long, else finished or buried."""

    after: float | None = None
    buried: bool = False
    attempts: int = 0
