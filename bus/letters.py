"""Dead letters as values: what one is, how it is named, and which of them are meant. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bus.event import Problem, rfc3339
from bus.keys import Keys

LETTER: Final = (b"queue", b"entry", b"reason", b"attempts")
"""Fields that stand before those of the entry itself, which may have none of these names."""
QUEUES: Final = ("events", "bulk", "timers")
"""Queues that are worked in order, beside the jobs of the channels."""
CHANNELS: Final = ("push", "email", "sms", "webhook")
JOBS: Final = "jobs:"
MAX_TEXT: Final = 200
MAX_NAMES: Final = 1_000
MEMBERS: Final = ("channel", "queue", "reason", "since", "until", "names")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A buried entry."""

    partition: int
    id: str
    queue: str
    entry: str
    """Id that the entry had in its queue."""
    reason: str
    attempts: int
    fields: dict[bytes, bytes] = field(repr=False)
    """The entry as it was; may hold private content, so show it only to who asks for it."""

    @property
    def name(self) -> str:
        """What a letter is called: `partition/id`."""
        return f"{self.partition}/{self.id}"

    @property
    def buried_at(self) -> float:
        """Unix time in seconds, by Redis's clock."""
        return int(self.id.partition("-")[0]) / 1000

    @property
    def age(self) -> tuple[int, int]:
        """Grows with the time of burial, also within a millisecond."""
        time, _, number = self.id.partition("-")
        return int(time), int(number)

    @property
    def channel(self) -> str:
        """The channel whose job it was; empty for what was no job."""
        return self.queue.removeprefix(JOBS) if self.queue.startswith(JOBS) else ""

    @property
    def about(self) -> dict[str, str]:
        """Of a job, which names everything and holds nothing: delivery, event and user."""
        names = {"delivery": b"id", "event": b"e", "user": b"u"} if self.channel else {}
        return {name: self.fields[key].decode(errors="replace") for name, key in names.items() if key in self.fields}


def letter(partition: int, letter_id: bytes, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """A dead letter as it stands in its stream."""
    own = dict(fields)
    queue, entry, reason, attempts = (own.pop(name, b"") for name in LETTER)
    return DeadLetter(
        partition=partition,
        id=letter_id.decode(),
        queue=queue.decode(errors="replace"),
        entry=entry.decode(errors="replace"),
        reason=reason.decode(errors="replace"),
        attempts=int(attempts) if attempts.isdigit() else 0,
        fields=own,
    )


def parse_name(name: str, keys: Keys) -> tuple[int, str] | None:
    """Partition and id of `partition/id`; None when it is not of that form."""
    partition, slash, rest = name.partition("/")
    time, _, number = rest.partition("-")
    digits = (partition, time, number or "0")
    if not slash or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in digits):
        return None
    return (int(partition), f"{time}-{number or 0}") if int(partition) < keys.partitions else None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is not said excludes none."""

    queue: str | None = None
    """events, bulk, timers, or jobs:<channel>."""
    reason: str | None = None
    """Text that the reason contains, whatever its case."""
    since: float | None = None
    until: float | None = None
    """When they were buried: Unix time in seconds, from and up to."""
    names: tuple[str, ...] = ()
    """Only these; empty: whatever they are called."""

    @property
    def everything(self) -> bool:
        """Whether nothing is excluded."""
        return self == Selection()

    def has(self, found: DeadLetter) -> bool:
        """Whether a letter is meant."""
        if self.queue is not None and found.queue != self.queue:
            return False
        if self.reason is not None and self.reason.casefold() not in found.reason.casefold():
            return False
        early = self.since is not None and found.buried_at < self.since
        late = self.until is not None and found.buried_at > self.until
        return not early and not late and (not self.names or found.name in self.names)

    @property
    def span(self) -> tuple[str, str]:
        """Newest and oldest id that can be meant, as XREVRANGE takes them."""
        newest = "+" if self.until is None else f"{max(0, int(self.until * 1000))}"
        oldest = "-" if self.since is None else f"{max(0, int(self.since * 1000))}"
        return newest, oldest


def select(raw: Mapping[str, Any]) -> Selection | tuple[Problem, ...]:
    """A selection from decoded JSON or a query: channel or queue, reason, since and until (RFC 3339), names."""
    faults = [Problem("", f"has no members but {', '.join(MEMBERS)}")] if not raw.keys() <= set(MEMBERS) else []
    channel, queue, reason, names = (raw.get(name) for name in ("channel", "queue", "reason", "names"))
    if channel is not None and (channel not in CHANNELS or queue is not None):
        faults.append(Problem("/channel", f"must be one of {', '.join(CHANNELS)}, and stand without a queue"))
    if queue is not None and queue not in QUEUES:
        faults.append(Problem("/queue", f"must be one of {', '.join(QUEUES)}"))
    if reason is not None and not (isinstance(reason, str) and 0 < len(reason) <= MAX_TEXT):
        faults.append(Problem("/reason", f"must be a string of 1 to {MAX_TEXT} characters"))
    times = {name: rfc3339(raw[name]) for name in ("since", "until") if raw.get(name) is not None}
    late = "must be an RFC 3339 date and time with an offset"
    faults += [Problem(f"/{name}", late) for name, time in times.items() if time is None]
    if names is not None and not _are_names(names):
        faults.append(Problem("/names", f"must be a list of 1 to {MAX_NAMES} names of dead letters"))
    if faults:
        return tuple(faults)
    of_channel = f"{JOBS}{channel}" if channel is not None else queue
    return Selection(of_channel, reason, times.get("since"), times.get("until"), tuple(names or ()))


def _are_names(raw: object) -> bool:
    if not isinstance(raw, Sequence) or isinstance(raw, str) or not 1 <= len(raw) <= MAX_NAMES:
        return False
    return all(isinstance(name, str) and len(name) <= 64 for name in raw)
