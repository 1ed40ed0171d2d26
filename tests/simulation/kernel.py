"""One queue of events, one clock, one source of chance: what happens in a simulated world, and in which order.

The same seed gives the same run. A process is what can crash, stand still and have a wrong clock; while one of its
callbacks runs, it is the running event loop, so parts of the product that ask for timers get them from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

Work = Callable[[], None]


class Handle:
    """A timer, as an event loop gives one."""

    __slots__ = ("_work", "cancelled")

    def __init__(self, work: Work) -> None:
        self._work = work
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def run(self) -> None:
        if not self.cancelled:
            self._work()


class Violation(AssertionError):
    """An invariant does not hold; says which, and what was seen."""


class Kernel:
    """`trace`: whether what happens is written down. Times are seconds since the beginning."""

    def __init__(self, seed: int, trace: bool = False) -> None:
        self.now = 0.0
        self.chance = Random(seed)
        self.tracing = trace
        self.trace: list[str] = []
        self.steps = 0
        self._queue: list[tuple[float, int, Work]] = []
        self._order = count()

    def at(self, delay: float, work: Work) -> None:
        """Do something in `delay` seconds."""
        heappush(self._queue, (self.now + delay, next(self._order), work))

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        until, queue = self.now + seconds, self._queue
        while queue and queue[0][0] <= until:
            self.now, _, work = heappop(queue)
            self.steps += 1
            work()
        self.now = until

    def say(self, who: str, what: str) -> None:
        """For the trace. Where there is much to put together, ask `tracing` first."""
        if self.tracing:
            self.trace.append(f"{self.now:9.3f}  {who:<10} {what}")


class Ask:
    """Something a coroutine waits for: `start` is given what goes on with the answer."""

    __slots__ = ("start",)

    def __init__(self, start: Callable[[Callable[[Any], None]], None]) -> None:
        self.start = start

    def __await__(self) -> Generator[Ask, Any, Any]:
        return (yield self)


class Process:
    """Something that runs until it crashes."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel, self.name = kernel, name
        self.alive = True
        self.paused_until = 0.0
        self._inside = False
        self.skew = 0.0
        """How far its wall clock is wrong."""
        self._coroutines: dict[int, Coroutine[Any, Any, None]] = {}
        self._numbers = count()

    # As an event loop ------------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self.kernel.now

    def call_soon(self, work: Callable[..., object], *args: object) -> Handle:
        return self.call_later(0.0, work, *args)

    def call_later(self, delay: float, work: Callable[..., object], *args: object) -> Handle:
        handle = Handle(lambda: work(*args) and None)
        self.kernel.at(delay, lambda: self.turn(handle.run))
        return handle

    def turn(self, work: Work) -> None:
        """Do something as this process: not at all once it has crashed, and later while it stands still."""
        if not self.alive:
            return
        if self._inside:
            work()
            return
        if self.kernel.now < self.paused_until:
            self.kernel.at(self.paused_until - self.kernel.now, lambda: self.turn(work))
            return
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)  # type: ignore[arg-type]
        self._inside = True
        try:
            work()
        finally:
            self._inside = False
            asyncio._set_running_loop(before)

    # As a clock ------------------------------------------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.kernel.now

    def wall(self) -> float:
        return 1_000_000.0 + self.kernel.now + self.skew

    # Coroutines ------------------------------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine that awaits nothing but `Ask`s; a crash ends it wherever it is."""
        number = next(self._numbers)
        self._coroutines[number] = work
        self.call_soon(self._step, number, None)

    def _step(self, number: int, answer: Any) -> None:
        work = self._coroutines.get(number)
        if work is None:
            return
        try:
            asked = work.send(answer)
        except StopIteration:
            self._coroutines.pop(number, None)
            return
        asked.start(lambda answer: self.turn(lambda: self._step(number, answer)))

    def sleep(self, seconds: float) -> Ask:
        """Wait."""
        return Ask(lambda resume: self.kernel.at(seconds, lambda: resume(None)))

    def every(self, seconds: float, work: Work) -> None:
        """Do something again and again."""

        def again() -> None:
            work()
            self.call_later(seconds, again)

        self.call_later(seconds * self.kernel.chance.random(), again)

    # Faults ----------------------------------------------------------------------------------------------------------

    def crash(self) -> None:
        """End between any two steps, without a word."""
        self.alive = False
        for work in self._coroutines.values():
            work.close()
        self._coroutines.clear()

    def pause(self, seconds: float) -> None:
        """Stand still, and notice nothing of it."""
        self.paused_until = max(self.paused_until, self.kernel.now + seconds)


def together(asks: Sequence[Ask]) -> Ask:
    """All at once; the answers in their order, exceptions among them as values."""

    def start(resume: Callable[[Any], None]) -> None:
        answers: list[Any] = [None] * len(asks)
        missing = len(asks)

        def answered(place: int, answer: Any) -> None:
            nonlocal missing
            answers[place] = answer
            missing -= 1
            if not missing:
                resume(answers)

        if not asks:
            resume([])
        for place, ask in enumerate(asks):
            ask.start(lambda answer, place=place: answered(place, answer))

    return Ask(start)
