"""The one way to send commands to Redis: `post`, `ask`, and several together."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final

from redis.asyncio.connection import parse_url

from bus.clock import Clock
from bus.connect import COMMAND_TIMEOUT, CONNECT_TIMEOUT
from bus.errors import BusDown, BusError, Overloaded
from bus.pipe.arrival import ALL_SLOTS, Arrival, Server, run_id_of
from bus.pipe.line import Arg, Line, OnReply, Reply, Together, fail_soon, pack, resolver
from bus.scripts import all_scripts, load

Call = tuple[str, Sequence[str], Sequence[Arg]]
"""A Lua script's name, its KEYS and its ARGV."""

MAX_IN_FLIGHT: Final = 100_000
BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

log = logging.getLogger(__name__)


class Pipe:
    """Use: `async with asyncio.TaskGroup() as g: g.create_task(pipe.run())`, then `post` or `ask`.

    `timeout` is how many seconds a reply may take; `scripts`: whether Lua scripts will be run on it. While there is no
    connection, every command fails at once with `BusDown`; `run` keeps trying to connect.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str,
        clock: Clock,
        timeout: float = COMMAND_TIMEOUT,
        scripts: bool = True,
        arrival: Arrival | None = None,
    ) -> None:
        self._address = _Address(url, name)
        self._name = name
        self._clock = clock
        self._timeout = timeout
        self._scripts = all_scripts() if scripts else ()
        self._arrival = arrival
        self._line: Line | None = None
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
            fail_soon(on_reply, BusDown("no connection to Redis"))
        elif line.choked or len(line.waiting) >= MAX_IN_FLIGHT:
            fail_soon(on_reply, Overloaded("too many commands in flight"))
        else:
            line.send(pack(args), on_reply)

    def post_script(self, name: str, keys: Sequence[str], args: Sequence[Arg], on_reply: OnReply) -> None:
        """Like `post`, for a Lua script."""
        self.post(("EVALSHA", load(name).sha, len(keys), *keys, *args), on_reply)

    async def ask(self, *args: Arg) -> Reply:
        """Send a command and wait for its reply. Raises `BusError`."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.post(args, resolver(future))
        return await future

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> Reply:
        """Run a Lua script and wait for its reply. Raises `BusError`."""
        return await self.ask("EVALSHA", load(name).sha, len(keys), *keys, *args)

    def future(self, name: str, keys: Sequence[str], args: Sequence[Arg]) -> asyncio.Future[Reply]:
        """Send a Lua script now, wait for it later: scripts sent in one turn travel together and run in this order."""
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.post_script(name, keys, args, resolver(future))
        return future

    async def scripts(self, calls: Iterable[Call]) -> list[Reply]:
        """Send Lua scripts together, to run in this order; their replies, a `BusError` in the place of each failure.

        Later ones run even when an earlier one failed.
        """
        return await self.asks(("EVALSHA", load(name).sha, len(keys), *keys, *args) for name, keys, args in calls)

    async def asks(self, commands: Iterable[Sequence[Arg]]) -> list[Reply]:
        """Send commands together; like `scripts`."""
        together = Together()
        for command in commands:
            self.post(command, together.slot())
        return await together.replies()

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

    async def _connect(self) -> Line:
        line = Line(self._clock)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._address.connect(line)
                scripts = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
                for reply in await line.asks((*self._address.greeting(), *scripts)):
                    if isinstance(reply, BusError):
                        raise reply
            if self._arrival is not None:
                async with asyncio.timeout(COMMAND_TIMEOUT):
                    await self._arrival(line.asks, Server(await run_id_of(line)), ALL_SLOTS)
        except BaseException:
            line.drop("could not connect")
            raise
        return line

    async def _keep(self, line: Line) -> None:
        """Offer the connection until it is lost."""
        # A connection that was lost between its greeting and now offers itself to nobody.
        if line.lost is None:
            self._line = line
            line.on_lost = self._withdraw
            self._up.set()
        await line.keep(self._timeout)

    def _withdraw(self) -> None:
        self._line = None
        self._up.clear()


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__


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
