"""Writes that replicas confirm, on a connection of their own: WAIT holds up whatever stands behind it.

What comes while a WAIT is under way goes out together when it is over, with one WAIT behind all of it. So a replica's
answer costs each of them the same wait, however many there are.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from bus.errors import BusDown, BusError, Overloaded, Unconfirmed
from bus.pipe import Arg, Master, OnReply, Pipe, Reply
from bus.pipe.line import fail_soon

MOST: Final = 10_000
"""Writes that may wait for their turn; more are refused."""
AT_ONCE: Final = 500
"""Writes that share a WAIT."""
_NONE: Final = object()
"""Not answered yet."""


@dataclass(slots=True)
class _Write:
    """A command, the master of its key, and what that said to it."""

    master: Master
    args: Sequence[Arg]
    on_reply: OnReply
    reply: Reply = _NONE


class Durable:
    """`replicas`: how many must have a write before it counts; `timeout`: seconds they may take; `pipe`: with a timeout
    above that."""

    def __init__(self, pipe: Pipe, *, replicas: int, timeout: float) -> None:
        self._pipe, self._replicas, self._timeout = pipe, replicas, max(1, int(timeout * 1000))
        self._queues: defaultdict[str, deque[_Write]] = defaultdict(deque)
        """By master."""
        self._waiting: set[str] = set()
        """Masters whose replicas are being waited for."""

    def post(self, key: str, args: Sequence[Arg], on_reply: OnReply) -> None:
        """Send a command that writes to `key`; `on_reply` is called with its reply once replicas have what it wrote.

        Else it is called with a `BusError`: `Unconfirmed` when it was done, but not by enough of them in time.
        """
        try:
            master = self._pipe.at(key)
        except BusDown as error:
            fail_soon(on_reply, error)
            return
        queue = self._queues[master.name]
        if len(queue) >= MOST:
            fail_soon(on_reply, Overloaded("too many writes wait for replicas"))
            return
        queue.append(_Write(master, args, on_reply))
        if master.name not in self._waiting:
            self._send(master.name)

    def _send(self, name: str) -> None:
        queue = self._queues[name]
        if not queue:
            # Masters come and go.
            del self._queues[name]
            return
        self._waiting.add(name)
        writes = [queue.popleft() for _ in range(min(AT_ONCE, len(queue)))]
        for write in writes:
            # Each by its own key: another one's may have moved away since.
            write.master.post(write.args, partial(setattr, write, "reply"))
        waits = ("WAIT", self._replicas, self._timeout)
        writes[-1].master.post(waits, partial(self._confirmed, name, writes))

    def _confirmed(self, name: str, writes: Sequence[_Write], confirmed: Reply) -> None:
        self._waiting.discard(name)
        self._send(name)
        for write in writes:
            write.on_reply(self._judge(write.reply, confirmed))

    def _judge(self, reply: Reply, confirmed: Reply) -> Reply:
        if isinstance(reply, BusError):
            return reply
        if reply is _NONE:
            # Its key has just come to this master, and what is asked there first held it up, but not the WAIT.
            return Unconfirmed("not stored yet")
        if isinstance(confirmed, BusError):
            return Unconfirmed("stored, and then the connection was lost")
        return reply if confirmed >= self._replicas else Unconfirmed("stored, but too few replicas confirmed it")
