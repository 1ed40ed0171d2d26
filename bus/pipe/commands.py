"""The ways to send commands, all made of one: `post`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

from bus.pipe.line import Arg, OnReply, Reply, Together, resolver
from bus.scripts import load

Call = tuple[str, Sequence[str], Sequence[Arg]]
"""A Lua script's name, its KEYS and its ARGV."""


class Commands(ABC):
    """What can be asked of Redis."""

    @abstractmethod
    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        """Send a command; `on_reply` is called with its reply or a `BusError`, never before this returns."""

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
        """Send Lua scripts together; their replies, a `BusError` in the place of each failure.

        Those of one partition run in this order. Later ones run even when an earlier one failed.
        """
        return await self.asks(("EVALSHA", load(name).sha, len(keys), *keys, *args) for name, keys, args in calls)

    async def asks(self, commands: Iterable[Sequence[Arg]]) -> list[Reply]:
        """Send commands together; like `scripts`."""
        together = Together()
        for command in commands:
            self.post(command, together.slot())
        return await together.replies()


class Master(Commands):
    """One master by itself: what is asked here goes to it on one connection, in this order, and nowhere else.

    So SCAN, INFO and CONFIG are about this one, and WAIT about what was written just before it. A key that has moved
    away is refused (MOVED, which is passing) instead of being looked for elsewhere.
    """

    def __init__(self, name: str, post: Callable[[Sequence[Arg], OnReply], None]) -> None:
        self.name = name
        """For people: its host and port, or nothing when there is one only."""
        self._post = post

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        self._post(args, on_reply)
