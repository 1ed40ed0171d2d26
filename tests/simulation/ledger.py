"""What was promised and what happened, and the invariants of DESIGN.md §4 that follow from comparing the two.

Those that can be broken by a single step are checked at that step, so that a trace ends where the fault is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from bus.event import Event
from bus.keys import INBOX, inbox_of
from bus.trail import Kind
from fanout.job import Job
from fanout.ladder.due import DueStep
from fanout.ladder.moves import Move
from tests.simulation.kernel import Kernel, Violation

POISON = "poison"
"""Type of the events that no worker can handle."""


@dataclass(frozen=True)
class Accepted:
    """An event that its producer was told is accepted."""

    event: Event
    at: float
    replicated: bool


@dataclass
class Ledger:
    """One run's."""

    kernel: Kernel
    accepted: dict[str, Accepted] = field(default_factory=dict)
    """By reference."""
    lost: set[str] = field(default_factory=set)
    """References of events whose ingest entry went with a master."""
    named: dict[tuple[str, str, int], str] = field(default_factory=dict)
    """Topic, epoch, offset → reference."""
    received: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """By user: ids of events that a session of theirs received."""
    read: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    withdrawn: dict[str, float] = field(default_factory=dict)
    """References → when the producer was told that it is withdrawn."""
    undone: set[str] = field(default_factory=set)
    """References whose withdrawal went, in part, with a master."""
    looked_withdrawn: set[str] = field(default_factory=set)
    """Ids of jobs whose sender was told of the withdrawal."""
    calls: Counter[str] = field(default_factory=Counter)
    """Provider calls by idempotency key."""
    retries: Counter[str] = field(default_factory=Counter)
    """By idempotency key: outcomes and ends of workers after which another call is allowed."""
    called_for: dict[str, Job] = field(default_factory=dict)
    failovers: int = 0
    """Each may bring a job back that was done."""
    resyncs: int = 0
    _entries: dict[str, tuple[int, int]] = field(default_factory=dict)
    """References → partition and entry in its ingest stream."""
    _newest: dict[tuple[int, str], int] = field(default_factory=dict)
    """Ingest partition and topic → the newest entry appended."""

    def fail(self, invariant: int, what: str) -> None:
        """Raises `Violation`."""
        raise Violation(f"invariant {invariant}, at {self.kernel.now:.3f} s: {what}")

    # What scripts do -------------------------------------------------------------------------------------------------

    def acked(self, p: int, ids: Sequence[int], pending: Sequence[int]) -> None:
        """Entries of an ingest stream are acknowledged."""
        if list(ids) != list(pending[: len(ids)]):
            self.fail(6, f"partition {p} acknowledged {list(ids)} while {list(pending)} were pending")

    def came(self, ref: str, p: int, entry_id: int) -> None:
        """An event stands in an ingest stream, perhaps not for the first time."""
        self._entries.setdefault(ref, (p, entry_id))

    def appended(self, topic: str, epoch: str, offset: int, ref: str) -> None:
        """An event was given an offset."""
        before = self.named.setdefault((topic, epoch, offset), ref)
        if before != ref:
            self.fail(3, f"{topic} {epoch}:{offset} names {before} and {ref}")
        if ref in self.withdrawn and ref not in self.undone:
            self.fail(10, f"{ref} was appended to {topic} after its withdrawal")
        p, entry_id = self._entries[ref]
        if entry_id < self._newest.get((p, topic), 0) and not self.failovers:
            self.fail(6, f"{ref} was appended to {topic} behind what came after it to partition {p}")
        self._newest[p, topic] = entry_id

    def stepped(self, due: DueStep, move: Move) -> None:
        """A step was committed."""
        if move.note.kind is not Kind.CANCELLED:
            return
        user, told = due.person.name, due.ref.partition("/")[2]
        if move.note.reason == "acked" and told not in self.received[user]:
            self.fail(2, f"{due.ref} for {user} (offset {due.mark.offset}) counts as acked, and nobody received it")
        if move.note.reason == "read" and told not in self.read[user]:
            self.fail(2, f"{due.ref} for {user} (offset {due.mark.offset}) counts as read, and nobody read it")

    def looked(self, job: Job, withdrawn: bool) -> None:
        """A sender looked at a job, just before its call."""
        self.looked_withdrawn.discard(job.id)
        if withdrawn:
            self.looked_withdrawn.add(job.id)

    def called(self, job: Job) -> None:
        """A provider was called."""
        if job.id in self.looked_withdrawn:
            self.fail(10, f"{job.ref} was sent to {job.user} after its withdrawal")
        self.calls[job.id] += 1
        self.called_for[job.id] = job
        allowed = 1 + self.failovers + self.retries[job.id]
        if self.calls[job.id] > allowed:
            self.fail(11, f"{self.calls[job.id]} calls for {job.ref} to {job.user}, {allowed} allowed")

    # At the end ------------------------------------------------------------------------------------------------------

    def kept(self, ref: str) -> bool:
        """Whether an accepted event may not be missing anywhere."""
        return self.accepted[ref].replicated or ref not in self.lost

    def recipients(self, event: Event) -> list[str]:
        """Inboxes and topics."""
        return [*map(inbox_of, event.users), *event.topics]

    def judge(self, logs: dict[str, dict[int, str]], dead: Sequence[str]) -> None:
        """Everything has come to rest: what is in the logs, and what was buried."""
        for ref, accepted in self.accepted.items():
            if not self.kept(ref) or ref in self.withdrawn or ref in self.undone:
                continue
            if accepted.event.type == POISON:
                if ref not in dead:
                    self.fail(7, f"{ref} is poison, and was not buried")
                continue
            for topic in self.recipients(accepted.event):
                if topic.startswith(INBOX) and ref not in logs.get(topic, {}).values():
                    self.fail(13 if accepted.replicated and self.failovers else 1, f"{topic} never got {ref}")
        for topic, entries in logs.items():
            for ref, times in Counter(entries.values()).items():
                if times > 1:
                    self.fail(1, f"{topic} has {ref} {times} times")
        for ref in dead:
            if "/" in ref and ref in self.accepted and self.accepted[ref].event.type != POISON:
                self.fail(7, f"{ref} was buried, and is no poison")
