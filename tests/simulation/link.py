"""The way from a process to the masters: answers come late but in order, and not at all when a master goes away.

A command that is under way then may have been done or not, as on a real connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bus.errors import BusDown
from tests.simulation.kernel import Ask, Kernel, Process
from tests.simulation.store import Behind, Fenced, Store

LEAST, VARIES = 0.0003, 0.004
"""Seconds that one way takes, and by how much it varies."""
SLOW = 0.02
"""Share of ways that take up to a second."""


class _Command:
    __slots__ = ("done", "on_reply", "work")

    def __init__(self, work: Callable[[], Any], on_reply: Callable[[Any], None]) -> None:
        self.work, self.on_reply = work, on_reply
        self.done = False


class Link:
    """Connections of one process, one to each master."""

    def __init__(self, kernel: Kernel, store: Store, process: Process) -> None:
        self._kernel, self._store, self._process = kernel, store, process
        self._done_at: dict[int, float] = {}
        self._answered_at: dict[int, float] = {}
        self._pending: dict[int, dict[_Command, None]] = {}
        self.down: set[int] = set()
        self.on_arrival: Callable[[int], None] = lambda master: None
        self.arrivals = 0
        """How often it has found a master again, which may be another one."""

    def post(self, place: int | str, work: Callable[[], Any], on_reply: Callable[[Any], None]) -> None:
        """Have a script run on the master of a partition or node; `on_reply` gets its answer or an exception."""
        master = self._store.master_of(place)
        command = _Command(work, on_reply)
        if master in self.down:
            self._kernel.at(0.001, lambda: self._tell(on_reply, BusDown("no connection")))
            return
        self._pending.setdefault(master, {})[command] = None
        at = self._done_at[master] = max(self._done_at.get(master, 0.0), self._kernel.now + self._way())
        self._kernel.at(at - self._kernel.now, lambda: self._do(master, command))

    def ask(self, place: int | str, work: Callable[[], Any]) -> Ask:
        """The same, for a coroutine."""
        return Ask(lambda resume: self.post(place, work, resume))

    def _do(self, master: int, command: _Command) -> None:
        if command.done or (not self._process.alive and self._kernel.chance.random() < 0.5):
            return
        try:
            answer = command.work()
        except (Fenced, Behind) as refusal:
            answer = refusal
        at = max(self._answered_at.get(master, 0.0), self._kernel.now + self._way())
        self._answered_at[master] = at
        self._kernel.at(at - self._kernel.now, lambda: self._answer(master, command, answer))

    def _answer(self, master: int, command: _Command, answer: Any) -> None:
        if not command.done:
            command.done = True
            self._pending[master].pop(command, None)
            self._tell(command.on_reply, answer)

    def lose(self, master: int) -> None:
        """The connection broke, and there is no other for now."""
        self.down.add(master)
        for command in self._pending.pop(master, {}):
            command.done = True
            self._kernel.at(0.001, lambda command=command: self._tell(command.on_reply, BusDown("connection lost")))

    def found(self, master: int) -> None:
        """There is one again."""
        self.down.discard(master)
        self.arrivals += 1
        self._process.turn(lambda: self.on_arrival(master))

    def _tell(self, on_reply: Callable[[Any], None], answer: Any) -> None:
        self._process.turn(lambda: on_reply(answer))

    def _way(self) -> float:
        drawn = self._kernel.chance.random()
        return drawn / SLOW if drawn < SLOW else LEAST + drawn * VARIES
