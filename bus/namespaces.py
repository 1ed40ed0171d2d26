"""Namespaces: the rules of all topics that share the part before the colon.

Both sides must agree on them: the gateway on who may do what, the fan-out worker on how much history a topic keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

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


class Namespaces:
    """All namespaces of an installation; `*` in the settings changes the rules of those not named."""

    def __init__(self, table: Mapping[str, Any]) -> None:
        self._fallback = _read("*", table.get("*", {}), DEFAULT)
        self._named = {name: _read(name, raw, self._fallback) for name, raw in table.items() if name != "*"}

    def of(self, topic: str) -> Namespace:
        """Rules of a topic `namespace:name`."""
        return self._named.get(topic.partition(":")[0], self._fallback)


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
