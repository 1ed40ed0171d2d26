"""What due.lua tells: timers that are due, each with all that decides about it, as values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bus.event import CONDITIONS, Step
from bus.keys import escape, unescape
from bus.people import preferences
from bus.people.devices import Device
from bus.people.preferences import Preferences
from bus.pipe import Reply
from fanout.ladder.rungs import decode_ladder

PUSH: Final = "push"


@dataclass(frozen=True, slots=True)
class Person:
    """What is known of somebody at that moment."""

    name: str
    preferences: Preferences
    zone: str
    """Time zone of their profile; empty where they have none."""
    targets: tuple[str, ...]
    """Where the channel leads: ids of devices for push, one empty text for an address, nothing for nowhere."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How an event stands with a person."""

    offset: int = 0
    """In their inbox; 0: it is not there."""
    acked: bool = False
    read: bool = False
    withdrawn: bool = False
    expires_at: float | None = None
    """Unix time in seconds; None: never."""


@dataclass(frozen=True, slots=True)
class DueStep:
    """A step whose time has come."""

    timer: bytes
    ref: str
    index: int
    ladder: tuple[Step, ...]
    category: str
    person: Person
    mark: Mark

    @property
    def step(self) -> Step | None:
        """The step itself; None where its ladder is gone with the event."""
        return self.ladder[self.index] if self.index < len(self.ladder) else None


@dataclass(frozen=True, slots=True)
class Gathered:
    """An event in a digest: the step that put it there, and how the event stands now."""

    ref: str
    index: int
    unless: str | None
    mark: Mark

    @property
    def condition(self) -> str:
        """What makes it unnecessary: nobody needs to be told again of what they have read, whatever the step said."""
        return self.unless or "read"

    def entry(self) -> str:
        """What stands for it in the list."""
        return f"{escape(self.ref)}\n{self.mark.offset}\n{self.index}\n{self.unless or ''}"


@dataclass(frozen=True, slots=True)
class DueDigest:
    """A digest whose window is over, or which is full. `events`: oldest first."""

    timer: bytes
    channel: str
    category: str
    person: Person
    events: tuple[Gathered, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """A timer that nothing can be made of, and why."""

    timer: bytes
    reason: str


Item = DueStep | DueDigest | Broken


@dataclass(frozen=True, slots=True)
class Due:
    """All that is due now, and how long nothing else will be."""

    wait: float | None
    """Seconds until the next timer; None: there is none."""
    now: float
    """Redis's clock, Unix time in seconds."""
    items: tuple[Item, ...]


def read(reply: Sequence[Reply]) -> Due:
    """The answer of due.lua."""
    wait, now, *items = reply
    return Due(None if wait < 0 else wait / 1000, now / 1000, tuple(map(_item, items)))


def digest_timer(user: str, channel: str, category: str) -> str:
    """The timer of a digest."""
    return f"digest\n{escape(user)}\n{channel}\n{escape(category)}"


def step_timer(ref: str, user: str, index: int) -> str:
    """The timer of a step."""
    return f"step\n{escape(ref)}\n{escape(user)}\n{index}"


def _item(raw: Sequence[Any]) -> Item:
    kind, timer, *rest = raw
    try:
        match kind:
            case b"step":
                return _step(timer, *rest)
            case b"digest":
                return _digest(timer, *rest)
            case _:
                return Broken(timer, rest[0].decode())
    except ValueError:  # not UTF-8, or no number where one belongs: somebody else wrote it
        return Broken(timer, "no timer of a known form")


def _step(timer: bytes, ladder: bytes, category: bytes, over: bytes, *rest: Any) -> DueStep:
    withdrawn, offset, acked, read, doc, zone, targets = rest
    _, ref, user, index = timer.decode().split("\n")
    steps, place = decode_ladder(ladder), int(index)
    via = steps[place].via if place < len(steps) else ""
    person = _person(user, via, doc, zone, targets)
    mark = Mark(offset, bool(acked), bool(read), bool(withdrawn), _moment(over))
    return DueStep(timer, unescape(ref), place, steps, category.decode(), person, mark)


def _digest(timer: bytes, doc: bytes, zone: bytes, targets: Sequence[bytes], *entries: Sequence[Any]) -> DueDigest:
    _, user, channel, category = timer.decode().split("\n")
    person = _person(user, channel, doc, zone, targets)
    return DueDigest(timer, channel, unescape(category), person, tuple(_gathered(*entry) for entry in entries))


def _gathered(entry: bytes, over: bytes, withdrawn: int, acked: int, read: int) -> Gathered:
    ref, offset, index, unless = entry.decode().split("\n")
    mark = Mark(int(offset), bool(acked), bool(read), bool(withdrawn), _moment(over))
    return Gathered(unescape(ref), int(index), unless if unless in CONDITIONS else None, mark)


def _person(user: str, via: str, doc: bytes, zone: bytes, targets: Sequence[bytes]) -> Person:
    found = tuple(reachable(targets)) if via == PUSH else ("",) * bool(targets)
    return Person(unescape(user), preferences.read(doc or None), zone.decode(), found)


def reachable(flat: Sequence[bytes]) -> Iterator[str]:
    """Ids of the devices that pushes are sent to; `flat`: ids and devices in turn, as Redis has them."""
    for name, data in zip(flat[::2], flat[1::2], strict=True):
        try:
            device = Device.from_json(name.decode(), data)
        except (ValueError, KeyError, TypeError, AttributeError):  # written by something else: no device of ours
            continue
        if device.reachable:
            yield device.id


def _moment(over: bytes) -> float | None:
    return int(over) / 1000 or None
