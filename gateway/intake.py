"""The order and the limits of one client's commands, whatever the commands mean.

Commands are served strictly one after the other. One that needs the outside asks a question and waits for the answer;
those behind it wait in a queue bounded in bytes. Rate, errors, and unasked pongs have limits too.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bus.namespaces import Namespaces
from gateway.effects import Answer, Close, Effect, Question, Send
from gateway.pings import SEND_PING, Pings
from gateway.revocation import Revocations
from gateway.states import TRANSITIONS, Input, State
from gateway.wire import commands, replies
from gateway.wire.codes import Disconnect, Error

RATE_WINDOW: Final = 2.0
"""Seconds over which the rate of commands is averaged."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What all sessions of a node share. Times in seconds, sizes in bytes."""

    namespaces: Namespaces
    node: str
    version: str
    revocations: Revocations = field(default_factory=Revocations)
    ping_interval: float = 25.0
    refresh_grace: float = 25.0
    """How long after a token ran out its successor may still come: clients ask for it only when it has run out."""
    subscriptions: int = 128
    """Topics of one connection, beside its inbox."""
    messages_per_second: int = 50
    """Commands, averaged over two seconds; one full set of subscriptions comes on top, for that is a reconnect.
    0: no limit."""
    queue_bytes: int = 131_072
    """How much may wait behind a command that awaits its answer."""
    errors: int = 256
    """Most error replies between two pings."""
    history_page: int = 300
    """Most publications in one history reply."""


class Queue:
    """Commands that wait for the one in front of them, and how many bytes they came as."""

    __slots__ = ("commands", "size")

    def __init__(self) -> None:
        self.commands: deque[tuple[commands.Command, int]] = deque()
        self.size = 0


Effects = Sequence[Effect]
_PING: Final = (SEND_PING,)


class Intake(Pings, ABC):
    """Takes messages, gives commands one at a time to `_serve`, answers to `_proceed`."""

    __slots__ = ("_context", "_errors", "_paid_until", "_pending", "_queue", "state")

    def __init__(self, context: SessionContext) -> None:
        super().__init__()
        self.state = State.NEW
        self._context = context
        self._pending: object | None = None
        self._queue: Queue | None = None
        self._paid_until = 0.0
        self._errors = 0

    @abstractmethod
    def _serve(self, command: commands.Command, now: float) -> Effects:
        """Serve a command that the state allows."""

    @abstractmethod
    def _proceed(self, pending: Any, answer: Answer, now: float) -> Effects:
        """Go on with what `_ask` was given, now that its question is answered."""

    @abstractmethod
    def _undo(self, pending: Any, answer: Answer) -> Effects:
        """The same, when the answer comes after the end."""

    # Messages and answers --------------------------------------------------------------------------------------------

    def feed(self, message: bytes, now: float) -> Effects:
        """One message of the client (commands joined by line feeds) at Unix time `now`."""
        if message == replies.PING:
            return self._pong()
        out: list[Effect] = []
        for line in commands.lines(message):
            if self._over:
                break
            out.extend(self._take(line, now))
            if self.state is State.REFUSED:
                # Clients send their subscriptions along with `connect`; they are void, and not held against them.
                break
        return out

    def answer(self, answer: Answer, now: float) -> Effects:
        """The answer to the one question asked. After the end: a `Joined` is undone, the rest is ignored.

        Raises `RuntimeError` when nothing was asked, which is a fault of the caller.
        """
        pending, self._pending = self._pending, None
        if pending is None:
            if self._over:
                return ()
            raise RuntimeError("an answer to no question")
        if self._over:
            return self._undo(pending, answer)
        effects = self._proceed(pending, answer, now)
        return effects if self._queue is None else (*effects, *self._drain(self._queue, now))

    def ping(self, now: float) -> Effects:
        """Time for a ping: nothing unless connected. Also starts a new count of errors."""
        if self.state is not State.CONNECTED:
            return ()
        self._errors = 0
        return _PING if self._ping_due() else ()

    def overdue_pong(self, now: float) -> Effects:
        """The time for the pong is over: closes if it did not come."""
        return self._end(Disconnect.NO_PONG) if self._overdue and not self._over else ()

    def closed(self) -> None:
        """The transport is gone. An answer that is still to come may be handed in as ever."""
        self._end(Disconnect.CLOSED)

    # Order and limits ------------------------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self.state is State.CLOSED

    def _move(self, happening: Input) -> bool:
        """Follow the table; False where it has nothing."""
        target = TRANSITIONS[self.state].get(happening)
        if target is None:
            return False
        self.state = target
        return True

    def _take(self, line: bytes, now: float) -> Effects:
        command = commands.parse(line)
        if isinstance(command, commands.Pong):
            return self._pong()
        if isinstance(command, commands.Malformed):
            return self._end(Disconnect.BAD_REQUEST)
        if not self._within_rate(now):
            return self._end(Disconnect.TOO_MANY_REQUESTS)
        if self._pending is not None:
            return self._wait(command, len(line))
        return self._judge(command, now)

    def _pong(self) -> Effects:
        if self._over:
            return ()
        if not self._asked_for or not self._move(Input.PONG):
            return self._end(Disconnect.BAD_REQUEST)
        return self._answered()

    def _within_rate(self, now: float) -> bool:
        """The generic cell rate algorithm (ITU-T I.371), whose whole state is one time."""
        rate = self._context.messages_per_second
        if not rate:
            return True
        credit = RATE_WINDOW + self._context.subscriptions / rate
        ahead = max(self._paid_until - now, 0.0)
        if ahead > credit:
            ahead = 0.0  # only a clock set back can bring this about
        self._paid_until = now + ahead + 1 / rate
        return ahead + 1 / rate <= credit

    def _wait(self, command: commands.Command, size: int) -> Effects:
        queue = self._queue = self._queue or Queue()
        queue.commands.append((command, size))
        queue.size += size
        return self._end(Disconnect.TOO_MANY_REQUESTS) if queue.size > self._context.queue_bytes else ()

    def _drain(self, queue: Queue, now: float) -> Effects:
        out: list[Effect] = []
        while self._queue is queue and self._pending is None:
            command, size = queue.commands.popleft()
            queue.size -= size
            if not queue.commands:
                self._queue = None
            out.extend(self._judge(command, now))
        return out

    def _judge(self, command: commands.Command, now: float) -> Effects:
        happening = Input.CONNECT if isinstance(command, commands.Connect) else Input.COMMAND
        return self._serve(command, now) if self._move(happening) else self._end(Disconnect.BAD_REQUEST)

    # What serving a command may lead to ------------------------------------------------------------------------------

    def _ask(self, pending: object, question: Question) -> Effects:
        self._pending = pending
        return (question,)

    def _reply(self, id: int, method: str, result: Mapping[str, Any]) -> Effects:
        return (Send(replies.reply(id, method, result)),)

    def _refuse(self, id: int, error: Error, detail: str = "") -> Effects:
        self._errors += 1
        if self._errors > self._context.errors:
            return self._end(Disconnect.TOO_MANY_ERRORS)
        return (Send(replies.error(id, error, detail)),)

    def _end(self, disconnect: Disconnect) -> Effects:
        self._move(Input.ENDED)
        self._queue = None
        return (Close(disconnect),)
