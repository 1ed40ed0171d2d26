"""Work done a little at a time: what thousands bring at once is done in slices, so that they wait for each other, and
not everybody else for all of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, TypeVar

from bus.clock import Clock

BUDGET: Final = 0.005
"""Seconds spent in one turn of the loop."""

T = TypeVar("T")


class Pace:
    """A line of steps, done in order: while there is time in this turn of the loop, else in the next. A step must be
    short; one that fails costs no other."""

    __slots__ = ("_budget", "_busy", "_clock", "_left", "_line", "_turning")

    def __init__(self, clock: Clock, *, budget: float = BUDGET) -> None:
        self._clock, self._budget = clock, budget
        self._line: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._left = budget
        self._turning = self._busy = False

    def __len__(self) -> int:
        """Steps that wait."""
        return len(self._line)

    @property
    def free(self) -> bool:
        """Whether a step would be done at once. Within another one none is: it would be its part, however many they
        are."""
        return not self._line and self._left > 0 and not self._busy

    def enter(self, step: Callable[..., None], *arguments: Any) -> None:
        """Do a step now, or when its turn comes."""
        if self.free:
            self._do(step, arguments)
        else:
            self.later(step, *arguments)

    def later(self, step: Callable[..., None], *arguments: Any) -> None:
        """Do a step when its turn comes, so that what fails in it is not the caller's."""
        self._line.append((step, arguments))
        self._wake()

    def each(self, items: Iterable[T], do: Callable[[T], None]) -> None:
        """Do something with each of many, later. What enters meanwhile takes turns with them."""
        self.later(self._next, iter(items), do)

    def _next(self, left: Iterator[T], do: Callable[[T], None]) -> None:
        for item in left:
            self._line.append((self._next, (left, do)))
            do(item)
            return

    def _turn(self) -> None:
        self._turning = False
        self._left = self._budget
        while self._line and self._left > 0:
            step, arguments = self._line.popleft()
            self._do(step, arguments)

    def _do(self, step: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._busy = True
        began = self._clock.monotonic()
        try:
            step(*arguments)
        finally:
            self._busy = False
            self._left -= self._clock.monotonic() - began
            self._wake()

    def _wake(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)
