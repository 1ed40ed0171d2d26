"""One connection to Redis for many callers: commands of a loop turn leave in one write, replies come back in order.

Why our own, beside redis-py: a command costs 13–98 µs there and about 1 µs here, and nobody can cancel a command that
is under way, which is what once handed one user's reply to another (CVE-2023-28858). A caller that gives up leaves its
place in the line; a reply that does not come in time costs the whole connection; and every connection has a line of its
own, so no reply can ever answer a command of another connection.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import hiredis

from bus.clock import Clock
from bus.errors import BusDown, BusError, Refused

Arg = bytes | str | int | float
Reply = Any
"""What hiredis makes of a reply: bytes, int, None, or a list of these; or a `BusError`."""
OnReply = Callable[[Reply], None]

MAX_UNSENT: Final = 64 * 1024 * 1024
"""Bytes that may wait for the socket: a Redis that hangs must not fill our memory before it is found out."""
LOOKS: Final = 5
"""How often overdue replies are looked for while one could become overdue."""
FLUSHED: Final = {"NOSCRIPT": "scripts were flushed"}
"""Errors that cost the connection before anybody hears them, and why: connecting again loads the scripts, and callers
repeat as after any loss."""


class Line(asyncio.Protocol):
    """One connection: what was sent on it and waits, in order.

    `fatal`: codes of errors after which the connection is of no more use, though whoever asked is told the error.
    """

    def __init__(self, clock: Clock, fatal: frozenset[str] = frozenset()) -> None:
        self._clock, self._fatal = clock, fatal
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._queued: list[bytes] = []
        self._sent_at: deque[tuple[float, int]] = deque()
        self._asked = self._answered = 0
        self._looking: asyncio.TimerHandle | None = None
        self.waiting: deque[OnReply] = deque()
        self.choked = False
        """Too much waits for the socket."""
        self.lost: str | None = None
        """Why the connection is over."""
        self.ended = asyncio.Event()
        self.on_lost: Callable[[], None] | None = None

    # Sending -----------------------------------------------------------------------------------------------------

    def send(self, packed: bytes, on_reply: OnReply) -> None:
        """Queue a command; all of this loop turn leave in one write."""
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(packed)
        self.waiting.append(on_reply)
        self._asked += 1

    async def asks(self, commands: Iterable[Sequence[Arg]]) -> list[Reply]:
        """Send commands together; their replies, a `BusError` in the place of each failure."""
        together = Together()
        for command in commands:
            if self.lost is None:
                self.send(pack(command), together.slot())
            else:
                together.slot()(BusDown(f"connection to Redis lost: {self.lost}"))
        return await together.replies()

    def _flush(self) -> None:
        if self._transport is None or not self._queued:
            return
        self._transport.write(b"".join(self._queued))
        self._queued.clear()
        self._sent_at.append((self._clock.monotonic(), self._asked))

    # Its end -----------------------------------------------------------------------------------------------------

    async def keep(self, timeout: float) -> None:
        """Return when the connection is lost; a reply overdue by more than `timeout` seconds loses it."""
        self._look(timeout)
        try:
            await self.ended.wait()
        finally:
            if self._looking is not None:
                self._looking.cancel()
            self.drop("closed")

    def _look(self, timeout: float) -> None:
        """Look for what is overdue, over and over; no task wakes for that, for some have hundreds of connections."""
        self._looking = self._loop.call_later(timeout / LOOKS, self._look, timeout)
        if self.oldest_wait() > timeout:
            self.drop("no reply in time")

    def oldest_wait(self) -> float:
        """How long the oldest command without a reply has waited, in seconds."""
        while self._sent_at and self._sent_at[0][1] <= self._answered:
            self._sent_at.popleft()
        return self._clock.monotonic() - self._sent_at[0][0] if self._sent_at else 0.0

    def drop(self, why: str) -> None:
        """End the connection and tell everyone who waits; a second call does nothing."""
        if self.lost is not None:
            return
        self.lost = why
        if self.on_lost is not None:
            self.on_lost()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        self._queued.clear()
        self.ended.set()
        while self.waiting:
            # Not called here: one caller's bug must not keep the news from the others.
            self._loop.call_soon(self.waiting.popleft(), BusDown(f"connection to Redis lost: {why}"))

    # asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=MAX_UNSENT, low=MAX_UNSENT // 2)
        if self.lost is not None:
            self._transport.abort()

    def pause_writing(self) -> None:
        self.choked = True

    def resume_writing(self) -> None:
        self.choked = False

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while self.lost is None and (reply := self._reader.gets()) is not False:
                self._answer(reply)
        except hiredis.ProtocolError:
            self.drop("Redis sent something that is not a reply")
            return
        while self._sent_at and self._sent_at[0][1] <= self._answered:
            self._sent_at.popleft()

    def _answer(self, reply: Reply) -> None:
        if not self.waiting:
            self.drop("Redis sent a reply that nobody asked for")
            return
        if isinstance(reply, hiredis.ReplyError):
            self._refuse(Refused(str(reply)))
            return
        self._answered += 1
        self.waiting.popleft()(reply)

    def _refuse(self, refusal: Refused) -> None:
        if refusal.code in FLUSHED:
            self.drop(FLUSHED[refusal.code])
            return
        self._answered += 1
        self.waiting.popleft()(refusal)
        if refusal.code in self._fatal:
            self.drop(f"Redis says {refusal.code}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.drop("closed by Redis")


class Together:
    """The replies of several commands, waited for as one: a future for all instead of one for each."""

    def __init__(self) -> None:
        self._replies: list[Reply] = []
        self._missing = 0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def slot(self) -> OnReply:
        """Where the next command's reply goes."""
        place = len(self._replies)
        self._replies.append(None)
        self._missing += 1

        def fill(reply: Reply) -> None:
            self._replies[place] = reply
            self._missing -= 1
            if not self._missing and not self._done.done():
                self._done.set_result(None)

        return fill

    async def replies(self) -> list[Reply]:
        """All replies, in the order of the slots."""
        if self._missing:
            await self._done
        return self._replies


def pack(args: Sequence[Arg]) -> bytes:
    """A command as it goes over the wire (RESP)."""
    packed: bytes = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]  # its stub knows tuples of one only
    return packed


def resolver(future: asyncio.Future[Reply]) -> OnReply:
    """Gives a future its reply, or raises the error there; nothing when nobody waits for it any more."""

    def resolve(reply: Reply) -> None:
        if future.done():
            return
        if isinstance(reply, BusError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    return resolve


def fail_soon(on_reply: OnReply, error: BusError) -> None:
    """Tell an error, never before this returns."""
    asyncio.get_running_loop().call_soon(on_reply, error)
