"""Namespaces: the rules of all topics that share the part before the colon.

Both sides must agree on them: the gateway on who may do what, the fan-out worker on how much history a topic keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from bus.naming import topic_fault
from bus.settings import BadSetting

WHO: Final = ("nobody", "subscriber", "user", "token")
"""nobody; a connection that is subscribed; any authenticated user; a token that grants it."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """Rules of a namespace. Times in seconds. Closed unless opened."""

    subscribe: str = "token"
    """Who may subscribe: nobody, user, or token (a subscription token, or the topic in the token's `topics` claim)."""
    publish: str = "nobody"
    """Which clients may publish: nobody, subscriber, user."""
    presence: str = "nobody"
    """Who may see presence: nobody, subscriber, user. Presence is kept only where somebody may see it."""
    join_leave: bool = False
    """Whether subscribers are told who comes and goes."""
    history: str = "subscriber"
    """Who may read history: nobody, subscriber, user."""
    history_size: int = 100
    """How many publications a topic keeps; 0 keeps none, so nothing can be recovered."""
    history_ttl: int = 300
    """How long a topic's history is kept after its last publication."""

    @property
    def recoverable(self) -> bool:
        """Whether a client that comes back can be given what it missed."""
        return self.history_size > 0


DEFAULT: Final = Namespace()
CLOSED: Final = Namespace(subscribe="nobody", history="nobody")
"""What stored rules become that cannot be read."""
STAR: Final = "*"
"""Stands for all that are not named."""
MOST: Final = 1_000
"""Rules that can be stored at run time."""


class Namespaces:
    """All namespaces of an installation; `*` changes the rules of those not named.

    The table of the settings is fixed; `override` puts rules that were made at run time in place of those of the same
    name. Everybody of a process shares one object, so what it says changes for all of them at once.
    """

    def __init__(self, table: Mapping[str, Any]) -> None:
        """Raises `BadSetting`."""
        self._table = dict(table)
        self._stored: Mapping[str, Any] = {}
        self._fallback = DEFAULT
        self._named: dict[str, Namespace] = {}
        self._build()

    def of(self, topic: str) -> Namespace:
        """Rules of a topic `namespace:name`, or of a namespace by its name alone."""
        return self._named.get(topic.partition(":")[0], self._fallback)

    def override(self, stored: Mapping[str, Any]) -> None:
        """Take these rules, by namespace, in place of those taken before. A rule that this release does not know is
        passed over; where what is left cannot be read, the namespace is closed."""
        self._stored = {name: _known(raw) for name, raw in stored.items()}
        self._build()

    def check(self, name: str, raw: object) -> None:
        """Whether these rules could be those of a namespace. Raises `BadSetting` as the settings would."""
        _read(name, raw, self._fallback)

    def listed(self) -> dict[str, tuple[Namespace, bool]]:
        """The rules of every namespace that has its own, and whether they were made at run time; `*` among them."""
        names = sorted({*self._table, *self._stored, STAR})
        return {name: (self.of(name), name in self._stored) for name in names}

    def _build(self) -> None:
        self._fallback = self._rules(STAR, DEFAULT)
        names = {*self._table, *self._stored} - {STAR}
        self._named = {name: self._rules(name, self._fallback) for name in names}

    def _rules(self, name: str, base: Namespace) -> Namespace:
        if name not in self._stored:
            return _read(name, self._table.get(name, {}), base)
        try:
            return _read(name, self._stored[name], base)
        except BadSetting:
            return CLOSED


def name_fault(name: str) -> str | None:
    """What is wrong with the name of a namespace, or None."""
    return None if name == STAR else topic_fault(f"{name}:a") or ("must not contain a colon" if ":" in name else None)


def _known(raw: object) -> object:
    if not isinstance(raw, Mapping):
        return raw
    return {rule: value for rule, value in raw.items() if rule in _RULES}


_RULES: Final = frozenset(f.name for f in fields(Namespace))


def _read(name: str, raw: object, base: Namespace) -> Namespace:
    if not isinstance(raw, Mapping):
        raise BadSetting(f"namespaces.{name} must be a table")
    known = {f.name: f for f in fields(Namespace)}
    for key, value in raw.items():
        if key not in known:
            raise BadSetting(f"namespaces.{name} has no rule {key}; it has: {', '.join(known)}")
        if type(value) is not type(getattr(DEFAULT, key)):
            raise BadSetting(f"namespaces.{name}.{key} must be of type {type(getattr(DEFAULT, key)).__name__}")
        if isinstance(value, str) and value not in WHO:
            raise BadSetting(f"namespaces.{name}.{key} must be one of {', '.join(WHO)}")
        if isinstance(value, int) and value < 0:
            raise BadSetting(f"namespaces.{name}.{key} must not be negative")
    if raw.get("subscribe") == "subscriber":
        raise BadSetting(f"namespaces.{name}.subscribe must not be subscriber, which nobody is before")
    return replace(base, **dict(raw))
