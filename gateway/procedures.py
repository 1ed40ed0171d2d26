"""Procedures: what a person may ask for by name, over a connection (`rpc`) and over HTTP alike.

One registry serves both, so that a method and its HTTP twin can never say different things. What a procedure answers is
a value, also when it refuses; that Redis is away is told here once, for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from bus.errors import BusError
from bus.event import Problem
from gateway.connection import Connection
from gateway.limits import Tally

MOST: Final = 500
"""Procedures that may run at once on a node, and"""
OF_ONE: Final = 100
"""of those for one person, so that nobody's broken app takes the place of all others."""
SECONDS: Final = 10.0
"""How long one may take."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `connection` is None over HTTP."""

    user: str
    connection: Connection | None = None
    granted: tuple[str, ...] = ()
    """Over HTTP: topics that the token grants. A connection knows its own."""


class Wrong(Enum):
    """Why a procedure was not done."""

    BAD_PARAMS = auto()
    """The parameters are not of their form."""
    FORBIDDEN = auto()
    """The caller may not."""
    NOT_FOUND = auto()
    """There is nothing of that name or id."""
    LIMIT = auto()
    """The caller has as many of these as one may have."""
    BUSY = auto()
    """Too much is asked of this node now; worth repeating."""
    NOT_CONFIGURED = auto()
    """This installation is not set up for it."""
    UNAVAILABLE = auto()
    """Redis is away; worth repeating."""
    UNKNOWN = auto()
    """There is no procedure of that name."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why it was not done. `detail` and `faults` never quote what the caller sent."""

    kind: Wrong
    detail: str = ""
    faults: tuple[Problem, ...] = ()
    """Where in the parameters (RFC 6901) and what, for `BAD_PARAMS`."""

    @property
    def text(self) -> str:
        """All of it in one line; empty when there is nothing to say."""
        told = [f"{fault.pointer}: {fault.message}" if fault.pointer else fault.message for fault in self.faults]
        return "; ".join([self.detail, *told] if self.detail else told)


Params = Mapping[str, Any]
"""A JSON object, decoded."""
Answer = dict[str, Any] | Fault
"""What becomes the JSON result, or why there is none."""
Procedure = Callable[[Caller, Params], Awaitable[Answer]]


class Procedures:
    """All procedures of a node by name."""

    def __init__(self, most: int = MOST, seconds: float = SECONDS, of_one: int = OF_ONE) -> None:
        self._table: dict[str, Procedure] = {}
        self._most, self._seconds = most, seconds
        self._running = 0
        self._by_user = Tally(of_one)

    def add(self, table: Mapping[str, Procedure]) -> None:
        """Take procedures in. Raises ValueError for a name that is there already."""
        if known := table.keys() & self._table.keys():
            raise ValueError(f"there already: {', '.join(sorted(known))}")
        self._table.update(table)

    def __contains__(self, name: str) -> bool:
        return name in self._table

    async def call(self, caller: Caller, name: str, params: Params) -> Answer:
        """Run a procedure. What it raises beside `BusError` is a bug, and is raised on."""
        procedure = self._table.get(name)
        if procedure is None:
            return Fault(Wrong.UNKNOWN, "there is no such method")
        if self._running >= self._most:
            return Fault(Wrong.BUSY, "too much is asked of this node now")
        if not self._by_user.has_room(caller.user):
            return Fault(Wrong.BUSY, "too much is asked at once in this person's name")
        self._running += 1
        self._by_user.take(caller.user)
        try:
            async with asyncio.timeout(self._seconds):
                return await procedure(caller, params)
        except (BusError, TimeoutError):
            return Fault(Wrong.UNAVAILABLE, "this cannot be done now")
        finally:
            self._running -= 1
            self._by_user.release(caller.user)


def bad(message: str, pointer: str = "") -> Fault:
    """Parameters that are wrong at one place."""
    return Fault(Wrong.BAD_PARAMS, faults=(Problem(pointer, message),))
