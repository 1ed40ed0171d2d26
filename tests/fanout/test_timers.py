"""The timers of a partition: worked when due, woken when something is due earlier, patient when Redis is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bus.clock import SystemClock
from bus.event import Step
from bus.keys import Keys
from bus.lease import Fenced
from bus.pipe import Pipe
from fanout import timers
from fanout.timers import Timers
from tests.conftest import open_pipe
from tests.fanout.ladder_stand import MAIL, SOON, Ladder, ladder_on, step
from tests.fanout.stand import running_worker, settings_for
from tests.looking import values
from tests.servers import RedisSite


@asynccontextmanager
async def running(ladder: Ladder) -> AsyncIterator[Timers]:
    made = Timers(ladder.pipe, ladder.keys, ladder.lease, ladder.steps)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(made.run())
        yield made
        task.cancel()


async def until_mails(ladder: Ladder, count: int) -> None:
    while len(await ladder.jobs("email")) < count:  # noqa: ASYNC110  # there is no event for it
        await asyncio.sleep(0.005)


async def test_it_sleeps_until_the_first_is_due(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LONGEST_WAIT", 1_000.0)  # nothing else wakes it
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        await ladder.online("alice")
        ladder.publisher.set_nodes(("n1",))
        before = asyncio.get_running_loop().time()
        await ladder.publish(ladder=(Step("email", 1),))
        ((_, at),) = await ladder.timers()
        async with running(ladder):
            await until_mails(ladder, 1)
        assert asyncio.get_running_loop().time() - before > 0.8
        seconds, micro = map(int, await ladder.ask("TIME"))
        assert seconds * 1000 + micro / 1000 >= at, "not before it is due"


async def test_it_wakes_for_what_is_due_earlier(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        await ladder.ask("ZADD", keys.timers(ladder.p), SOON, step("later", "alice", 1))
        async with running(ladder) as worked:
            for number in range(3):
                await asyncio.sleep(0.01)  # so that it sleeps
                await ladder.publish(str(number), ladder=(MAIL,))
                worked.wake()
                await until_mails(ladder, number + 1)


async def test_a_round_wakes_those_whose_call_was_lost_and_nobody_else(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LONGEST_WAIT", 0.02)
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        others = [(p, Noted(ladder)) for p in range(keys.partitions) if p != ladder.p][:3]
        await ladder.ask("ZADD", keys.timers(others[0][0]), SOON * 1000, "later")
        await ladder.ask("SET", keys.timers(others[1][0]), "no timers")
        async with running(ladder) as worked:
            await asyncio.sleep(0.01)  # so that it sleeps
            await ladder.publish("lost", ladder=(MAIL,))
            held = {ladder.p: worked, **dict(others)}
            async with asyncio.TaskGroup() as group:
                going = group.create_task(timers.rounds(ladder.pipe, keys, lambda: held, SystemClock()))
                await until_mails(ladder, 1)
                await asyncio.sleep(0.05)  # some rounds more
                going.cancel()
        assert [made.woken for _, made in others] == [0, 0, 0]


async def test_what_is_due_before_the_next_round_is_not_late_for_want_of_a_call(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LONGEST_WAIT", 0.02)
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        soon, later = Noted(ladder), Noted(ladder)
        await ladder.ask("ZADD", keys.timers(0), 100_015, "soon")
        await ladder.ask("ZADD", keys.timers(1), 100_025, "later")
        async with asyncio.TaskGroup() as group:
            going = group.create_task(timers.rounds(ladder.pipe, keys, lambda: {0: soon, 1: later}, Stopped()))
            while not soon.woken:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.005)
            going.cancel()
        assert later.woken == 0


class Stopped(SystemClock):
    """Its wall clock says the same for ever."""

    def wall(self) -> float:
        return 100.0


class Noted(Timers):
    """Counts how often it is woken."""

    def __init__(self, ladder: Ladder) -> None:
        super().__init__(ladder.pipe, ladder.keys, ladder.lease, ladder.steps)
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


async def test_it_waits_for_a_redis_that_is_full(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        await ladder.publish(ladder=(MAIL,))
        await ladder.ask("CONFIG", "SET", "maxmemory", 1)
        try:
            async with running(ladder):
                await asyncio.sleep(0.1)  # it is refused meanwhile
                await ladder.ask("CONFIG", "SET", "maxmemory", 0)
                await until_mails(ladder, 1)
        finally:
            await ladder.ask("CONFIG", "SET", "maxmemory", 0)


async def test_it_ends_with_its_lease(redis_server: RedisSite, keys: Keys) -> None:
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        worked = Timers(ladder.pipe, ladder.keys, ladder.lease, ladder.steps)
        await ladder.own("another")
        with pytest.raises(Fenced):
            await worked.run()


async def test_what_changes_all_the_time_makes_no_busy_loop(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(60), ladder_on(redis_server.url, keys) as ladder:
        await ladder.reachable()
        await ladder.publish(ladder=(MAIL,))
        looked = 0

        async def nothing(*_: object) -> int:
            nonlocal looked
            looked += 1
            return 0

        monkeypatch.setattr(ladder.steps, "take", nothing)
        async with running(ladder):
            await asyncio.sleep(0.2)
        assert 1 <= looked <= 0.2 / timers.SECOND_LOOK + 2


async def test_an_offline_person_of_anothers_partition_waits_for_nobody(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timers, "LONGEST_WAIT", 1_000.0)
    # While nobody has a partition, nobody can be called: who has it again finds what is due in the next round only. So
    # no lease is over though this process or Redis waits for a core.
    settings = settings_for(redis_server.url, keys, worker_ttl=0.8, lease_ttl=30.0)
    async with asyncio.timeout(60), open_pipe(redis_server.url) as pipe:
        users = [f"user{n}" for n in range(40)]
        for user in users:
            await pipe.ask("HSET", keys.profile(user), "email", "sealed")
        async with running_worker(settings), running_worker(settings):
            while len(await owners(pipe, keys)) < 2:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.02)
            for number, user in enumerate(users):
                event = f'{{"id":"{number}","type":"x","to":{{"users":["{user}"]}},"ladder":[{{"via":"email"}}]}}'
                await pipe.ask("XADD", keys.events(number % 8), "*", "e", event)  # any partition will do
            while sum([await pipe.ask("XLEN", keys.jobs(p, "email")) for p in range(8)]) < 40:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def owners(pipe: Pipe, keys: Keys) -> set[bytes]:
    held = await values(pipe, *(keys.lease(p) for p in range(keys.partitions)))
    return {value.split(b" ")[0] for value in held if value}
