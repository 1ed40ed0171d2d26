"""Looking at connections again after something was revoked or rules have changed: a slice at a time, so that those who
stay do not wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gateway.connection import Connection
from gateway.pace import Pace
from gateway.session import Session

SLICE: Final = 1_000
"""Connections and subscriptions passed by in one step: about a millisecond."""
CLOSE: Final = 5
"""A subscription looked at closely counts for so many."""


class Inspection:
    """Each call starts a round, or has another follow the one under way: one that began anew each time would never end
    while orders keep coming. `everyone` gives the connections there are, `look` looks closely at one."""

    def __init__(
        self,
        pace: Pace,
        everyone: Callable[[], Iterable[Connection]],
        look: Callable[[Connection], None],
    ) -> None:
        self._pace, self._everyone, self._look = pace, everyone, look
        self._round: Iterator[Connection] | None = None
        self._now, self._next = _Meant(), _Meant()
        """Who is meant in the round under way, and in the one to follow."""

    def user(self, user: str) -> None:
        """Look at those of a user."""
        self._next.users.add(user)
        self._begin()

    def token(self, jti: str) -> None:
        """Look at those who came by a token, or by one for a topic."""
        self._next.tokens.add(jti)
        self._begin()

    def all(self) -> None:
        """Look at everyone."""
        self._next.all = True
        self._begin()

    def _begin(self) -> None:
        if self._round is None:
            self._round = iter(())
            self._pace.later(self._step)

    def _step(self) -> None:
        more = True
        try:
            more = self._slice()
        finally:  # also after a fault in one of them, or nobody would ever be looked at again
            if more:
                self._pace.later(self._step)

    def _slice(self) -> bool:
        """Look at some of them; whether there are more."""
        room = SLICE
        while room > 0:
            assert self._round is not None
            connection = next(self._round, None)
            if connection is None:
                if not self._follow():
                    return False
                continue
            room -= 1 + len(connection.session.subscriptions)
            if self._now.has(connection.session):
                room -= CLOSE * len(connection.session.subscriptions)
                self._look(connection)
        return True

    def _follow(self) -> bool:
        """Begin the next round; whether there is one."""
        self._now, self._next = self._next, _Meant()
        self._round = iter(tuple(self._everyone())) if self._now else None
        return self._round is not None


@dataclass(slots=True)
class _Meant:
    """Whom a round is about."""

    users: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    all: bool = False

    def __bool__(self) -> bool:
        return self.all or bool(self.users or self.tokens)

    def has(self, session: Session) -> bool:
        """Whether a session is among them."""
        if self.all or session.user in self.users:
            return True
        if not self.tokens:
            return False
        stamps = (kept.stamp.jti for kept in session.subscriptions.values() if kept.expires_at is not None)
        return session.stamp.jti in self.tokens or any(jti in self.tokens for jti in stamps)
