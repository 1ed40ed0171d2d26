"""Looking at connections again after something was revoked or rules have changed: a slice of them a turn, so that those
who stay do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gateway.connection import Connection
from gateway.session import Session

SLICE: Final = 1_000
"""Connections and subscriptions passed by in one turn of the loop: about a millisecond."""
CLOSE: Final = 5
"""A subscription looked at closely counts for so many."""


class Inspection:
    """Each call but `_step` starts a round, or has the round under way begin anew. `everyone` gives the connections
    there are, `look` looks closely at one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        everyone: Callable[[], Iterable[Connection]],
        look: Callable[[Connection], None],
    ) -> None:
        self._loop, self._everyone, self._look = loop, everyone, look
        self._round: Iterator[Connection] | None = None
        self._again = False
        self._users: set[str] = set()
        self._tokens: set[str] = set()
        self._all = False

    def user(self, user: str) -> None:
        """Look at those of a user."""
        self._users.add(user)
        self._begin()

    def token(self, jti: str) -> None:
        """Look at those who came by a token, or by one for a topic."""
        self._tokens.add(jti)
        self._begin()

    def all(self) -> None:
        """Look at everyone."""
        self._all = True
        self._begin()

    def _begin(self) -> None:
        if self._round is None:
            self._round = iter(())
            self._loop.call_soon(self._step)
        self._again = True

    def _step(self) -> None:
        assert self._round is not None
        if self._again:
            # From the beginning: who was passed by already may be one of those meant now.
            self._again = False
            self._round = iter(tuple(self._everyone()))
        room = SLICE
        while room > 0:
            connection = next(self._round, None)
            if connection is None:
                self._end()
                return
            room -= 1 + len(connection.session.subscriptions)
            if self._all or self._is_meant(connection.session):
                room -= CLOSE * len(connection.session.subscriptions)
                self._look(connection)
        self._loop.call_soon(self._step)

    def _is_meant(self, session: Session) -> bool:
        if session.user in self._users:
            return True
        if not self._tokens:
            return False
        stamps = (kept.stamp.jti for kept in session.subscriptions.values() if kept.expires_at is not None)
        return session.stamp.jti in self._tokens or any(jti in self._tokens for jti in stamps)

    def _end(self) -> None:
        self._round = None
        self._all = False
        self._users.clear()
        self._tokens.clear()
