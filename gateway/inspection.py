"""Looking at all connections again after something was revoked or rules have changed: a slice of them a turn, so that
those who stay do not wait."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from gateway.connection import Connection

SLICE: Final = 500
"""Connections and subscriptions looked at in one turn of the loop: about half a millisecond."""


class Inspection:
    """`begin` starts a round, or another one after that under way. `everyone` gives the connections there are, `look`
    looks at one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        everyone: Callable[[], Iterable[Connection]],
        look: Callable[[Connection], None],
    ) -> None:
        self._loop, self._everyone, self._look = loop, everyone, look
        self._round: Iterator[Connection] | None = None
        self._again = False

    def begin(self) -> None:
        """Look at everyone, soon."""
        if self._round is None:
            self._round = iter(())
            self._loop.call_soon(self._step)
        self._again = True

    def _step(self) -> None:
        assert self._round is not None
        if self._again:
            # From the beginning: who was looked at already was judged by what held before.
            self._again = False
            self._round = iter(tuple(self._everyone()))
        room = SLICE
        while room > 0:
            connection = next(self._round, None)
            if connection is None:
                self._round = None
                return
            room -= 1 + len(connection.session.subscriptions)
            self._look(connection)
        self._loop.call_soon(self._step)
