"""How much may be under way at once, over all the queues that share it, and who gets the next place.

Places go to the source that has the fewest (`bus.turns`), and for one source to the queues in the order in which they
asked. Once all are taken, they are given again in handfuls: a worker at its limit that took one entry for each that
ends would ask Redis once for every single one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from bus.turns import Turns

HANDFUL: Final = 16
"""A full window opens again when one place in so many is free."""
ANYONE: Final = ""
"""The source of an entry that was not looked at before its place was taken."""


@dataclass(frozen=True, slots=True)
class Turn:
    """So many places, for entries of this source."""

    source: str
    places: int


@dataclass(slots=True, eq=False)
class _Request:
    wants: Mapping[str, int]
    most: int
    answer: asyncio.Future[Turn]
    alone: bool = False


class Window:
    """`size`: places there are."""

    def __init__(self, size: int) -> None:
        self.size = self._free = size
        self._turns = Turns()
        self._requests: list[_Request] = []
        self._needed = 1

    @property
    def taken(self) -> int:
        """Places in use."""
        return self.size - self._free

    @property
    def full(self) -> bool:
        """Whether who asks now has to wait."""
        return not self._free or bool(self._requests)

    async def reserve(self, most: int) -> int:
        """Take 1 to `most` places, once there are some, for entries of whomever."""
        return (await self._answered(self.ask({ANYONE: most}, most))).places

    async def reserve_all(self) -> int:
        """Take every place: be alone."""
        request = self.ask({ANYONE: self.size}, self.size, alone=True)
        return (await self._answered(request)).places

    def ask(self, wants: Mapping[str, int], most: int, *, alone: bool = False) -> _Request:
        """Stand in line for 1 to `most` places, for one of these sources, of which each wants so many."""
        request = _Request(wants, most, asyncio.get_running_loop().create_future(), alone)
        if not self._free:
            self._needed = max(1, self.size // HANDFUL)
        self._requests.append(request)
        self._give()
        return request

    async def turn(self, request: _Request, patience: float) -> Turn | None:
        """What was asked for, or None after `patience` seconds, and it still is asked for."""
        await asyncio.wait((request.answer,), timeout=patience)
        return request.answer.result() if request.answer.done() else None

    def want(self, request: _Request, wants: Mapping[str, int]) -> None:
        """Want something else now."""
        request.wants = wants
        self._give()

    def withdraw(self, request: _Request) -> None:
        """Leave the line; what was given already goes back."""
        if request in self._requests:
            self._requests.remove(request)
            self._give()
        elif request.answer.done() and not request.answer.cancelled():
            turn = request.answer.result()
            self.release(turn.places, turn.source)

    def name(self, source: str, places: int = 1) -> None:
        """Places that were taken for whomever turn out to be this source's."""
        self._turns.move(ANYONE, source, places)

    def release(self, places: int, source: str = ANYONE) -> None:
        """Give places back."""
        if places:
            self._free += places
            self._turns.end(source, places)
            self._give()

    async def _answered(self, request: _Request) -> Turn:
        try:
            return await asyncio.shield(request.answer)
        except asyncio.CancelledError:
            self.withdraw(request)
            raise

    def _give(self) -> None:
        """Answer as many as there are places for."""
        while self._requests and self._free >= self._needed:
            first = self._requests[0]
            if first.alone:
                if self._free < self.size:
                    return
                self._answer(first, ANYONE, self.size)
            elif not self._give_one():
                return

    def _give_one(self) -> bool:
        # Who wants to be alone is not overtaken by those who came later.
        before = next((place for place, one in enumerate(self._requests) if one.alone), len(self._requests))
        found = self._turns.choose([request.wants for request in self._requests[:before]])
        if found is None:
            return False
        place, source, others = found
        request = self._requests[place]
        most = min(request.most, request.wants[source], self._free)
        self._answer(request, source, max(1, min(most, self.size // HANDFUL)) if others else most)
        return True

    def _answer(self, request: _Request, source: str, places: int) -> None:
        self._requests.remove(request)
        self._free -= places
        self._turns.begin(source, places)
        self._needed = 1 if self._free else max(1, self.size // HANDFUL)
        request.answer.set_result(Turn(source, places))
