"""Leases of several partitions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bus.errors import BusDown, BusError, Refused
from bus.keys import Keys
from bus.lease import Lease, Leases
from bus.pipe import Arg, OnReply, Pipe
from bus.pipe.commands import Commands
from tests.conftest import open_pipe
from tests.servers import RedisSite


async def test_each_partition_has_one_owner_at_a_time(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        a, b = Leases(pipe, keys, "a", 60), Leases(pipe, keys, "b", 60)
        assert await a.hold((1, 2)) == {1: Lease(1, "a", 1), 2: Lease(2, "a", 1)}
        assert await b.hold((2, 3)) == {2: None, 3: Lease(3, "b", 1)}
        assert await a.hold((1, 2)) == {1: Lease(1, "a", 1), 2: Lease(2, "a", 1)}
        assert not await b.release(Lease(2, "b", 1))
        assert await a.release(Lease(2, "a", 1))
        assert await b.hold((2,)) == {2: Lease(2, "b", 2)}
        assert await b.hold(()) == {}


async def test_a_lease_ends_by_itself(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        first = (await Leases(pipe, keys, "a", 0.02).hold((1,)))[1]
        second = None
        while second is None:
            second = (await Leases(pipe, keys, "b", 60).hold((1,)))[1]
        assert first is not None
        assert second.fence == first.fence + 1


async def test_an_error_is_not_a_lost_lease(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        await pipe.ask("LPUSH", keys.lease(1), "x")
        with pytest.raises(BusError):
            await Leases(pipe, keys, "a", 60).hold((0, 1))


async def test_of_the_dead_a_lease_is_taken_when_it_was_silent_and_of_nobody_else(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        lost, heir = Leases(pipe, keys, "lost", 60, silence=20), Leases(pipe, keys, "heir", 60, silence=20)

        async def ask(leases: Leases, held: Lease | None, *living: str) -> Lease | BusError | None:
            answer: asyncio.Future[Lease | BusError | None] = asyncio.get_running_loop().create_future()
            leases.ask(1, held, living, answer.set_result)
            return await answer

        first = Lease(1, "lost", 1)
        assert await ask(lost, None, "lost") == first
        assert await ask(heir, None, "heir") is None, "it was kept a moment ago: who stops has work to end"
        await pipe.ask("PEXPIRE", keys.lease(1), 39_000)
        assert await ask(heir, None, "heir", "lost") is None, "it lives"
        assert await ask(lost, first, "lost") == first
        await pipe.ask("PEXPIRE", keys.lease(1), 39_000)
        assert await ask(heir, None, "heir") == Lease(1, "heir", 2)
        assert 50_000 < await pipe.ask("PTTL", keys.lease(1)) <= 60_000
        assert await ask(lost, first, "lost", "heir") is None
        dropped: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        heir.drop(Lease(1, "heir", 2), dropped.set_result)
        assert await dropped == 1
        assert await ask(lost, first, "lost") == Lease(1, "lost", 3)


async def test_keeping_a_lease_costs_one_command_and_finds_out_when_it_is_over(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        counted = Counted(pipe)
        leases = Leases(counted, keys, "a", 60)

        async def kept(held: Lease) -> Lease | BusError | None:
            answer: asyncio.Future[Lease | BusError | None] = asyncio.get_running_loop().create_future()
            leases.ask(1, held, ("a",), answer.set_result)
            return await answer

        first = (await Leases(pipe, keys, "a", 30).hold((1,)))[1]
        assert first is not None
        assert await kept(first) == first
        assert counted.sent == ["GETEX"]
        assert 50_000 < await pipe.ask("PTTL", keys.lease(1)) <= 60_000
        await pipe.ask("DEL", keys.lease(1))
        assert await kept(first) == first, "it ran out, and nobody had it since"
        assert await Leases(pipe, keys, "a", 60).release(first)
        second = (await Leases(pipe, keys, "b", 60).hold((1,)))[1]
        assert second is not None
        assert await kept(first) is None, "another has it"
        assert await Leases(pipe, keys, "b", 60).release(second)
        again = (await Leases(pipe, keys, "a", 60).hold((1,)))[1]
        assert await kept(first) == again, "it is ours, by another number"
        await pipe.ask("DEL", keys.lease(1))
        await pipe.ask("LPUSH", keys.lease(1), "x")
        assert isinstance(await kept(first), BusError)
        counted.down = True
        assert isinstance(await kept(first), BusDown)


async def test_who_may_not_keep_a_lease_by_a_command_keeps_it_by_the_script(
    redis_server: RedisSite, keys: Keys
) -> None:
    """As with the rights of a release that did not know the command."""
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        refusing = Counted(pipe)
        refusing.refuses = "GETEX"
        first = (await Leases(pipe, keys, "a", 30).hold((1,)))[1]
        answer: asyncio.Future[Lease | BusError | None] = asyncio.get_running_loop().create_future()
        Leases(refusing, keys, "a", 60).ask(1, first, ("a",), answer.set_result)
        assert await answer == first
        assert 50_000 < await pipe.ask("PTTL", keys.lease(1)) <= 60_000


class Counted(Commands):
    """A pipe that notes what is sent, and can be refused a command or be down."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe, self.sent, self.refuses, self.down = pipe, list[Arg](), "", False

    def post(self, args: Sequence[Arg], on_reply: OnReply) -> None:
        self.sent.append(args[0])
        if self.down:
            asyncio.get_running_loop().call_soon(on_reply, BusDown("no connection"))
        elif args[0] == self.refuses:
            asyncio.get_running_loop().call_soon(on_reply, Refused("NOPERM this user has no permissions"))
        else:
            self._pipe.post(args, on_reply)


async def test_a_lease_of_a_clock_that_was_ahead_ends_too(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        first = (await Leases(pipe, keys, "a", 3_600).hold((1,)))[1]
        assert first is not None
        heir = Leases(pipe, keys, "b", 0.05)
        second = (await heir.hold((1,)))[1]
        assert second is None, "whoever lives has a moment to keep it"
        while second is None:
            second = (await heir.hold((1,)))[1]
        assert second.fence == first.fence + 1
