"""Categories: what kinds of notifications an installation sends, and the rules that hold for each.

A category that the settings do not name has no rules of its own; so has what was sent without one, whose name is "".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, TypeVar

from bus.event import CONDITIONS, MAX_STEPS, MAX_TTL, VIAS, Step
from bus.naming import MAX_NAME, name_fault
from bus.settings import BadSetting

T = TypeVar("T")

DEFAULT_LADDER: Final = (Step("live"), Step("push", 30, "acked"), Step("email", 600, "read"))
"""Where the settings give no other."""
DIGESTED: Final = tuple(via for via in VIAS if via != "live")
"""Channels on which several notifications can go out as one message."""
MAX_WINDOW: Final = 7 * 86_400
"""Longest time in seconds over which a digest gathers."""
MAX_DIGEST: Final = 100
"""Most notifications in one digest: a full one goes out before its time."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Gather what comes within `window` seconds of the first, at most `max`, and send it as one message."""

    window: int
    max: int = MAX_DIGEST


@dataclass(frozen=True, slots=True)
class Category:
    """Rules of a category."""

    name: str
    title: str = ""
    """As a settings panel shows it; the name where the settings give none."""
    required: bool = False
    """Whether people cannot turn it off."""
    ladder: tuple[Step, ...] | None = None
    """Steps of its events that bring none; None: the default."""
    digest: Mapping[str, Digest] = field(default_factory=dict)
    """By channel."""
    ignore_quiet_hours: bool = False
    """Whether it may come at night."""
    off: tuple[str, ...] = ()
    """Channels that are off unless the person turns them on."""


class Categories:
    """All categories of an installation, from the table `[categories]`. Raises `BadSetting`."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._named = {name: _read(name, raw) for name, raw in table.items()}

    def of(self, name: str | None) -> Category:
        """The rules of a category, whether or not the settings name it."""
        found = self._named.get(name or "")
        return Category(name or "", name or "") if found is None else found

    @property
    def named(self) -> tuple[Category, ...]:
        """Those that the settings name, in their order."""
        return tuple(self._named.values())


def read_ladder(raw: Sequence[Any], where: str = "ladder") -> tuple[Step, ...]:
    """Steps from the settings; `DEFAULT_LADDER` when there are none. Raises `BadSetting`, which names `where`."""
    if len(raw) > MAX_STEPS:
        raise BadSetting(f"{where} must have at most {MAX_STEPS} steps")
    return tuple(_step(f"{where}[{i}]", step) for i, step in enumerate(raw)) or DEFAULT_LADDER


def _step(where: str, raw: object) -> Step:
    if not isinstance(raw, Mapping):
        raise BadSetting(f"{where} must be a table with via, after, unless")
    if unknown := set(raw) - {"via", "after", "unless"}:
        raise BadSetting(f"{where} has no rule {sorted(unknown)[0]}; it has: via, after, unless")
    via, after, unless = raw.get("via"), raw.get("after", 0), raw.get("unless")
    if via not in VIAS:
        raise BadSetting(f"{where}.via must be one of {', '.join(VIAS)}")
    if type(after) is not int or not 0 <= after <= MAX_TTL:
        raise BadSetting(f"{where}.after must be seconds, 0 to {MAX_TTL}")
    if unless is not None and unless not in CONDITIONS:
        raise BadSetting(f"{where}.unless must be one of {', '.join(CONDITIONS)}")
    return Step(via, after, unless)


def _read(name: str, raw: object) -> Category:
    where = f"categories.{name}"
    if fault := name_fault(name, MAX_NAME):
        raise BadSetting(f"the name of a category {fault}")
    if not isinstance(raw, Mapping):
        raise BadSetting(f"{where} must be a table")
    known = [f.name for f in fields(Category) if f.name != "name"]
    for key in raw:
        if key not in known:
            raise BadSetting(f"{where} has no rule {key}; it has: {', '.join(known)}")
    return Category(
        name,
        title=_of_type(where, raw, "title", str, name),
        required=_of_type(where, raw, "required", bool, False),
        ladder=_ladder(f"{where}.ladder", raw.get("ladder")),
        digest=_digest(f"{where}.digest", raw.get("digest", {})),
        ignore_quiet_hours=_of_type(where, raw, "ignore_quiet_hours", bool, False),
        off=_channels(f"{where}.off", raw.get("off", [])),
    )


def _of_type(where: str, raw: Mapping[str, Any], key: str, kind: type[T], default: T) -> T:
    value = raw.get(key, default)
    if not isinstance(value, kind):
        raise BadSetting(f"{where}.{key} must be of type {kind.__name__}")
    return value


def _ladder(where: str, raw: object) -> tuple[Step, ...] | None:
    if raw is None:
        return None
    if not isinstance(raw, list) or not raw:
        raise BadSetting(f"{where} must be a list of steps")
    return read_ladder(raw, where)


def _channels(where: str, raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or any(channel not in VIAS for channel in raw):
        raise BadSetting(f"{where} must be a list of: {', '.join(VIAS)}")
    return tuple(dict.fromkeys(raw))


def _digest(where: str, raw: object) -> dict[str, Digest]:
    if not isinstance(raw, Mapping) or any(channel not in DIGESTED for channel in raw):
        raise BadSetting(f"{where} must be a table of: {', '.join(DIGESTED)}")
    digests: dict[str, Digest] = {}
    for channel, choice in raw.items():
        found = read_digest(choice)
        if isinstance(found, str):
            raise BadSetting(f"{where}.{channel} {found}")
        digests[channel] = found
    return digests


def read_digest(raw: object) -> Digest | str:
    """`{"window": seconds, "max": n}` as a digest, or what is wrong with it."""
    if not isinstance(raw, Mapping) or not {"window"} <= set(raw) <= {"window", "max"}:
        return "must have window and may have max"
    window, most = raw["window"], raw.get("max", MAX_DIGEST)
    if type(window) is not int or not 1 <= window <= MAX_WINDOW:
        return f"must have a window of whole seconds, 1 to {MAX_WINDOW}"
    if type(most) is not int or not 2 <= most <= MAX_DIGEST:
        return f"must have a max from 2 to {MAX_DIGEST}"
    return Digest(window, most)
