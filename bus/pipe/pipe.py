"""One connection to Redis for many callers: commands of a loop turn leave in one write, replies come back in order.

Why our own, beside redis-py: a command costs 13–98 µs there and about 1 µs here, and nobody can cancel a command that
is under way, which is what once handed one user's reply to another (CVE-2023-28858). A caller that gives up leaves its
place in the line; a reply that does not come in time costs the whole connection; and every connection has a line of its
own, so no reply can ever answer a command of another connection.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import hiredis
from redis.asyncio.connection import parse_url

from bus.clock import Clock
from bus.connect import COMMAND_TIMEOUT, CONNECT_TIMEOUT
from bus.errors import BusDown, BusError, Overloaded, Refused
from bus.scripts import all_scripts, load

Arg = bytes | str | int | float
Reply = Any
"""What hiredis makes of a reply: bytes, int, None, or a list of these; or a `BusError`."""
OnReply = Callable[[Reply], None]
Call = tuple[str, Sequence[str], Sequence[Arg]]
"""A Lua script's name, its KEYS and its ARGV."""

MAX_IN_FLIGHT: Final = 100_000
MAX_UNSENT: Final = 64 * 1024 * 1024
"""Bytes that may wait for the socket: a Redis that hangs must not fill our memory before it is found out."""
BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
LOOKS: Final = 5
"""How often overdue replies are looked for while one could become overdue."""

log = logging.getLogger(__name__)


class Pipe:
    """Use: `async with asyncio.TaskGroup() as g: g.create_task(pipe.run())`, then `post` or `ask`.

    `timeout` is how many seconds a reply may take; `scripts`: whether Lua scripts will be run on it. While there is no
    connection, every command fails at once with `BusDown`; `run` keeps trying to connect.
    """

    def __init__(
        self, url: str, *, name: str, clock: Clock, timeout: float = COMMAND_TIMEOUT, scripts: bool = True
    ) -> None:
        self._address = _Address(url, name)
        self._name = name
        self._clock = clock
        self._timeout = timeout
        self._scripts = all_scripts() if scripts else ()
        self._line: _Line | None = None
        self._up = asyncio.Event()

    # Commands ----------------------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Whether commands can be sent now."""
        return self._up.is_set()

    async def wait_up(self, timeout: float) -> None:
        """Return once connected. Raises `BusDown` after `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._up.wait()
        except TimeoutError:
            raise BusDown("Redis does not answer") from None

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        """Send a command; `on_reply` is called with its reply or a `BusError`, never before this returns."""
        line = self._line
        if line is None:
            self._fail_soon(on_reply, BusDown("no connection to Redis"))
        elif line.choked or len(line.waiting) >= MAX_IN_FLIGHT:
            self._fail_soon(on_reply, Overloaded("too many commands in flight"))
        else:
            line.send(_pack(args), on_reply)

    def post_script(self, name: str, keys: Sequence[str], args: Sequence[Arg], on_reply: OnReply) -> None:
        """Like `post`, for a Lua script."""
        self.post(("EVALSHA", load(name).sha, len(keys), *keys, *args), on_reply)

    async def ask(self, *args: Arg) -> Reply:
        """Send a command and wait for its reply. Raises `BusError`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.post(args, _resolver(future))
        return await future

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        """Run a Lua script and wait for its reply. Raises `BusError`."""
        return await self.ask("EVALSHA", load(name).sha, len(keys), *keys, *args)

    def future(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> asyncio.Future[Reply]:
        """Send a Lua script now, wait for it later: scripts sent in one turn travel together and run in this order."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.post_script(name, keys, args, _resolver(future))
        return future

    async def scripts(self, calls: Iterable[Call]) -> list[Reply]:
        """Send Lua scripts together, to run in this order; their replies, a `BusError` in the place of each failure.

        Later ones run even when an earlier one failed.
        """
        return await self.asks(("EVALSHA", load(name).sha, len(keys), *keys, *args) for name, keys, args in calls)

    async def asks(self, commands: Iterable[Sequence[Arg]]) -> list[Reply]:
        """Send commands together; like `scripts`."""
        together = _Together()
        for command in commands:
            self.post(command, together.slot())
        return await together.replies()

    @staticmethod
    def _fail_soon(on_reply: OnReply, error: BusError) -> None:
        asyncio.get_running_loop().call_soon(on_reply, error)

    # The connection ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep the connection: connect, load the scripts, watch for replies that do not come. Ends when cancelled."""
        failures = 0
        while True:
            try:
                line = await self._connect()
            except (OSError, TimeoutError, BusError) as error:
                if failures == 0:
                    log.warning("no connection to Redis", extra={"client": self._name, "reason": _why(error)})
            else:
                failures = 0
                await self._keep(line)
                log.warning("connection to Redis lost", extra={"client": self._name, "reason": line.lost})
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1

    async def _connect(self) -> _Line:
        line = _Line(self._clock)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._address.connect(line)
                scripts = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
                together = _Together()
                for command in (*self._address.greeting(), *scripts):
                    line.send(_pack(command), together.slot())
                for reply in await together.replies():
                    if isinstance(reply, BusError):
                        raise reply
        except BaseException:
            line.drop("could not connect")
            raise
        return line

    async def _keep(self, line: _Line) -> None:
        """Offer the connection until it is lost; a reply overdue by more than the timeout loses it."""
        # A connection that was lost between its greeting and now offers itself to nobody.
        if line.lost is None:
            self._line = line
            line.on_lost = self._withdraw
            self._up.set()
        try:
            while line.lost is None:
                try:
                    async with asyncio.timeout(self._timeout / LOOKS):
                        await line.ended.wait()
                except TimeoutError:
                    if line.oldest_wait() > self._timeout:
                        line.drop("no reply in time")
        finally:
            line.drop("closed")

    def _withdraw(self) -> None:
        self._line = None
        self._up.clear()


class _Line(asyncio.Protocol):
    """One connection: what was sent on it and waits, in order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = hiredis.Reader()
        self._queued: list[bytes] = []
        self._sent_at: deque[tuple[float, int]] = deque()
        self._asked = self._answered = 0
        self.waiting: deque[OnReply] = deque()
        self.choked = False
        """Too much waits for the socket."""
        self.lost: str | None = None
        """Why the connection is over."""
        self.ended = asyncio.Event()
        self.on_lost: Callable[[], None] | None = None

    def send(self, packed: bytes, on_reply: OnReply) -> None:
        """Queue a command; all of this loop turn leave in one write."""
        if not self._queued:
            self._loop.call_soon(self._flush)
        self._queued.append(packed)
        self.waiting.append(on_reply)
        self._asked += 1

    def _flush(self) -> None:
        if self._transport is None or not self._queued:
            return
        self._transport.write(b"".join(self._queued))
        self._queued.clear()
        self._sent_at.append((self._clock.monotonic(), self._asked))

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
            reply = Refused(str(reply))
            if reply.code == "NOSCRIPT":
                # Somebody flushed the scripts: connecting again loads them, and callers repeat as after any loss.
                self.drop("scripts were flushed")
                return
        self._answered += 1
        self.waiting.popleft()(reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.drop("closed by Redis")


class _Together:
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


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


def _pack(args: Sequence[Arg]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(args))  # type: ignore[arg-type]  # its stub knows tuples of one only
    return packed


def _resolver(future: asyncio.Future[Reply]) -> OnReply:
    def resolve(reply: Reply) -> None:
        if future.done():
            return
        if isinstance(reply, BusError):
            future.set_exception(reply)
        else:
            future.set_result(reply)

    return resolve


class _Address:
    """A Redis URL taken apart: how to connect, and what to say first."""

    def __init__(self, url: str, name: str) -> None:
        self._parts: dict[str, Any] = dict(parse_url(url))
        self._name = name
        self._tls = url.startswith("rediss:")

    async def connect(self, protocol: asyncio.Protocol) -> None:
        loop = asyncio.get_running_loop()
        if path := self._parts.get("path"):
            await loop.create_unix_connection(lambda: protocol, path)
            return
        context = ssl.create_default_context(cafile=self._parts.get("ssl_ca_certs")) if self._tls else None
        host, port = self._parts.get("host", "localhost"), self._parts.get("port", 6379)
        await loop.create_connection(lambda: protocol, host, port, ssl=context)

    def greeting(self) -> list[tuple[Arg, ...]]:
        commands: list[tuple[Arg, ...]] = []
        if password := self._parts.get("password"):
            user = self._parts.get("username")
            commands.append(("AUTH", user, password) if user else ("AUTH", password))
        if database := self._parts.get("db"):
            commands.append(("SELECT", int(database)))
        commands.append(("CLIENT", "SETNAME", self._name))
        return commands
