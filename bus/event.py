"""The event: what a producer says happened, and the one validator that every way in goes through.

`parse` takes decoded JSON and gives an `Event` or an `Invalid` that lists every fault with a JSON pointer (RFC 6901).
It reads no clock: an event without a time of its own gets the `now` it is handed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bus.naming import name_fault, topic_fault
from bus.tree import MAX_DEPTH, depth_of, unfit_number

MAX_EVENT_BYTES: Final = 65_536
"""Size of an event as JSON, in bytes, on every way in."""
MAX_USERS: Final = 10_000
MAX_TOPICS: Final = 100
MAX_STEPS: Final = 10
MAX_TITLE: Final = 1_000
MAX_BODY: Final = 16_000
"""Lengths of texts, in characters."""
MAX_TTL: Final = 30 * 86_400
DEFAULT_TTL: Final = 86_400
RESERVED: Final = "tocsin."
"""Types that begin so are the system's own; no producer may send one."""
MESSAGE: Final = "tocsin.message"
"""The type of what a client published to a topic: delivered as its bare data, not as a notification."""

VIAS: Final = ("live", "push", "email", "sms", "webhook")
CONDITIONS: Final = ("acked", "read")
PRIORITIES: Final = ("low", "normal", "high")


@dataclass(frozen=True, slots=True)
class Step:
    """A rung of the ladder: the channel, the wait before it in seconds, and what makes it unnecessary."""

    via: str
    after: int = 0
    unless: str | None = None


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: where (a JSON pointer) and what; never the offending value, which may be private."""

    pointer: str
    message: str


_KNOWN: Final = re.compile(
    r"(?:/to(?:/(?:users|topics)(?:/\d{1,4})?)?|/ladder(?:/\d{1,4}(?:/(?:via|after|unless))?)?"
    r"|/(?:id|source|type|time|key|category|title|body|data|template|ttl|at|collapse_key|priority|ephemeral))(?=/|$)"
)


def _known(pointer: str) -> str:
    """A pointer as far as its names are ours: those that come after, in `data` say, may be private."""
    found = _KNOWN.match(pointer)
    return found[0] if found else ""


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why something is not an event."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        """For logs and dead letters, so without the names that the producer gave to things of its own."""
        return "; ".join(f"{_known(p.pointer) or '/'} {p.message}" for p in self.problems)


@dataclass(frozen=True, slots=True)
class Event:
    """What a producer says happened, and for whom. Identified by (source, id)."""

    id: str
    source: str
    type: str
    created_at: float
    """Unix time in seconds: the producer's own where it gives `time`, else when it was accepted."""
    users: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    key: str | None = None
    category: str | None = None
    title: str | None = None
    body: str | None = None
    data: Any = None
    template: str | None = None
    ladder: tuple[Step, ...] | None = None
    ttl: int = DEFAULT_TTL
    at: float | None = None
    collapse_key: str | None = None
    priority: str = "normal"
    ephemeral: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a newer schema: carried, not understood."""

    @property
    def ref(self) -> str:
        """Its identity as one string."""
        return ref_of(self.source, self.id)

    @property
    def ordering_key(self) -> str:
        """What decides the partition: the explicit key, else the one recipient, else the first topic, else the id."""
        if self.key is not None:
            return self.key
        if len(self.users) == 1:
            return self.users[0]
        return self.topics[0] if self.topics else self.id


def ref_of(source: str, id: str) -> str:
    """The identity of an event as one string; injective, for the source's length is in front."""
    return f"{len(source)}.{source}/{id}"


def id_in(ref: str) -> str | None:
    """The id of the event that `ref_of` made this of; None for what it did not make."""
    return None if (parts := _parts_of(ref)) is None else parts[1]


def source_in(ref: str) -> str | None:
    """The source, likewise."""
    return None if (parts := _parts_of(ref)) is None else parts[0]


def _parts_of(ref: str) -> tuple[str, str] | None:
    length, dot, rest = ref.partition(".")
    if not dot or not length.isascii() or not length.isdigit() or len(length) > 4:
        return None
    source = int(length)
    return (rest[:source], rest[source + 1 :]) if rest[source : source + 1] == "/" else None


# Fields ----------------------------------------------------------------------------------------------------------


class _Reader:
    """Collects the faults of one event while its fields are read."""

    def __init__(self, source: Mapping[str, Any]) -> None:
        self.source = source
        self.problems: list[Problem] = []
        self.known: set[str] = set()

    def fault(self, pointer: str, message: str) -> None:
        self.problems.append(Problem(pointer, message))

    def take(self, name: str) -> Any:
        self.known.add(name)
        return self.source.get(name)

    def named(self, name: str, check: Callable[[object], str | None] = name_fault) -> str | None:
        value = self.take(name)
        if value is None:
            return None
        if fault := check(value):
            self.fault(f"/{name}", fault)
            return None
        return str(value)

    def text(self, name: str, limit: int) -> str | None:
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, str) or len(value) > limit:
            self.fault(f"/{name}", f"must be a string of at most {limit} characters")
            return None
        return value

    def whole(self, name: str, low: int, high: int, default: int) -> int:
        value = self.take(name)
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            self.fault(f"/{name}", f"must be a whole number from {low} to {high}")
            return default
        return value

    def choice(self, name: str, choices: tuple[str, ...], default: str) -> str:
        value = self.take(name)
        if value is None:
            return default
        if value not in choices:
            self.fault(f"/{name}", f"must be one of {', '.join(choices)}")
            return default
        return str(value)

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            self.fault(f"/{name}", "must be true or false")
        return value is True

    def moment(self, name: str) -> float | None:
        value = self.take(name)
        if value is None:
            return None
        moment = rfc3339(value)
        if moment is None:
            self.fault(f"/{name}", "must be an RFC 3339 date and time with an offset")
        return moment


EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def rfc3339(value: object) -> float | None:
    """A date and time with an offset (RFC 3339) as Unix time in seconds; None where it is none."""
    if not isinstance(value, str) or not _RFC3339.fullmatch(value):
        return None
    try:
        # Down to the millisecond, which is all that is stored: the last one of the year 9999 must not be rounded up.
        return (datetime.fromisoformat(value.upper()).astimezone(UTC) - EPOCH) // _MILLISECOND / 1000
    except (ValueError, OverflowError):  # the 31st of February; the first hour of the year 1 in another zone
        return None


def _names(
    reader: _Reader, to: Mapping[str, Any], name: str, limit: int, check: Callable[[object], str | None]
) -> tuple[str, ...]:
    values = to.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or len(values) > limit:
        reader.fault(f"/to/{name}", f"must be a list of at most {limit}")
        return ()
    faults = [(i, fault) for i, value in enumerate(values) if (fault := check(value))]
    for i, fault in faults[:10]:
        reader.fault(f"/to/{name}/{i}", fault)
    return () if faults else tuple(dict.fromkeys(values))


def _audience(reader: _Reader) -> tuple[tuple[str, ...], tuple[str, ...]]:
    to = reader.take("to")
    if not isinstance(to, Mapping):
        reader.fault("/to", "must be an object with users, topics or both")
        return (), ()
    if unknown := [k for k in to if k not in ("users", "topics")]:
        reader.fault("/to", f"has {len(unknown)} unknown member(s); users and topics are known")
    users = _names(reader, to, "users", MAX_USERS, name_fault)
    topics = _names(reader, to, "topics", MAX_TOPICS, topic_fault)
    if not users and not topics and not reader.problems:
        reader.fault("/to", "names nobody: give users, topics or both")
    return users, topics


def _ladder(reader: _Reader) -> tuple[Step, ...] | None:
    steps = reader.take("ladder")
    if steps is None:
        return None
    if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS:
        reader.fault("/ladder", f"must be a list of 1 to {MAX_STEPS} steps")
        return None
    return tuple(step for i, raw in enumerate(steps) if (step := _step(reader, i, raw)))


def _step(reader: _Reader, i: int, raw: object) -> Step | None:
    if not isinstance(raw, Mapping):
        reader.fault(f"/ladder/{i}", "must be an object")
        return None
    via, after, unless = raw.get("via"), raw.get("after", 0), raw.get("unless")
    if via not in VIAS:
        reader.fault(f"/ladder/{i}/via", f"must be one of {', '.join(VIAS)}")
    elif not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= MAX_TTL:
        reader.fault(f"/ladder/{i}/after", f"must be seconds, 0 to {MAX_TTL}")
    elif unless is not None and unless not in CONDITIONS:
        reader.fault(f"/ladder/{i}/unless", f"must be one of {', '.join(CONDITIONS)}")
    else:
        return Step(via, after, unless)
    return None


# The validator ---------------------------------------------------------------------------------------------------


def parse(raw: object, *, default_id: str, default_source: str, now: float, internal: bool = False) -> Event | Invalid:
    """Decoded JSON to an event.

    `default_id` and `default_source` stand in where the producer gave none; `now` is Unix time in seconds.
    `internal` admits the system's own types, which no producer may send.
    """
    if not isinstance(raw, Mapping):
        return Invalid((Problem("", "must be a JSON object"),))
    if depth_of(raw) > MAX_DEPTH:
        return Invalid((Problem("", f"must not nest deeper than {MAX_DEPTH} levels"),))
    if (pointer := unfit_number(raw)) is not None:
        return Invalid((Problem(pointer, "must fit into 64 bits; send a larger number as a string"),))
    reader = _Reader(raw)
    kind = reader.named("type")
    if kind is None and raw.get("type") is None:
        reader.fault("/type", "is required")
    elif kind is not None and kind.startswith(RESERVED) and not internal:
        reader.fault("/type", f"must not begin with {RESERVED}")
    users, topics = _audience(reader)
    created_at = reader.moment("time")
    event = Event(
        id=reader.named("id") or default_id,
        source=reader.named("source") or default_source,
        type=kind or "",
        created_at=now if created_at is None else created_at,
        users=users,
        topics=topics,
        key=reader.named("key"),
        category=reader.named("category"),
        title=reader.text("title", MAX_TITLE),
        body=reader.text("body", MAX_BODY),
        data=reader.take("data"),
        template=reader.named("template"),
        ladder=_ladder(reader),
        ttl=reader.whole("ttl", 0, MAX_TTL, DEFAULT_TTL),
        at=reader.moment("at"),
        collapse_key=reader.named("collapse_key"),
        priority=reader.choice("priority", PRIORITIES, "normal"),
        ephemeral=reader.flag("ephemeral"),
        extra={k: v for k, v in raw.items() if k not in reader.known},
    )
    return Invalid(tuple(reader.problems)) if reader.problems else event
