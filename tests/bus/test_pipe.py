"""The pipe against a real Redis: order, batches, loss, timeouts, overload, and that no reply ever goes astray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import bus.pipe.line
import bus.pipe.link
import bus.pipe.pipe
from bus.clock import SystemClock
from bus.errors import BusDown, Overloaded, Refused
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from bus.pipe.direct import Direct
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import UP, open_pipe
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis


@asynccontextmanager
async def piped(url: str, timeout: float = 5.0) -> AsyncIterator[Pipe]:
    pipe = Pipe(url, name="test", clock=SystemClock(), timeout=timeout)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(pipe.run())
        await pipe.wait_up(UP)
        yield pipe
        running.cancel()


def direct(url: str) -> Direct:
    road = Pipe(url, name="test", clock=SystemClock())._road
    assert isinstance(road, Direct)
    return road


async def down(pipe: Pipe) -> None:
    """Until the pipe has noticed that its connection is gone."""
    while pipe.up:  # noqa: ASYNC110  # there is no event for it, and the loop has to turn
        await asyncio.sleep(0)


async def test_replies_come_in_the_order_of_the_commands(redis_server: RedisSite, keys: Keys) -> None:
    seen: list[Reply] = []
    async with piped(redis_server.url) as pipe:
        for turn in range(20):
            for number in range(50):
                pipe.post(("ECHO", turn * 50 + number), seen.append)
            await asyncio.sleep(0)
        await pipe.ask("PING")
    assert seen == [b"%d" % n for n in range(1_000)]


@pytest.mark.one_server
async def test_commands_of_a_turn_leave_in_one_write(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), piped(url) as pipe:
        proxy.chunks.clear()
        assert await pipe.asks(("ECHO", n) for n in range(100)) == [b"%d" % n for n in range(100)]
        assert len(proxy.chunks) == 1


async def test_a_refusal_is_an_error_with_its_code(redis_server: RedisSite, keys: Keys) -> None:
    key = keys.installation
    async with piped(redis_server.url) as pipe:
        await pipe.ask("SET", key, "text")
        with pytest.raises(Refused) as refusal:
            await pipe.ask("HGET", key, "field")
        assert refusal.value.code == "WRONGTYPE"
        assert not refusal.value.passing
        good, bad, after = await pipe.asks((("GET", key), ("LPUSH", key, "x"), ("GET", key)))
        assert (good, after) == (b"text", b"text")
        assert isinstance(bad, Refused)


async def test_no_commands_need_no_waiting(redis_server: RedisSite) -> None:
    async with piped(redis_server.url) as pipe:
        assert await pipe.asks(()) == []
        assert await pipe.scripts(()) == []


async def test_scripts_run_in_order_and_by_future(redis_server: RedisSite, keys: Keys) -> None:
    async with piped(redis_server.url) as pipe:
        lease, head = keys.lease(0), keys.head(0)
        first = pipe.future("lease", (lease, head), ("a", 5_000))
        second = pipe.future("lease", (lease, head), ("b", 5_000))
        assert (await first, await second) == (1, 0)
        assert await pipe.scripts([("release", (lease,), ("a", 1)), ("lease", (lease, head), ("b", 5_000))]) == [1, 2]


async def test_before_it_is_up_everything_fails_at_once() -> None:
    pipe = Pipe("redis://127.0.0.1:1/0", name="test", clock=SystemClock())
    failures: list[Reply] = []
    pipe.post(("PING",), failures.append)
    assert failures == []  # never before post returns
    with pytest.raises(BusDown):
        await pipe.ask("PING")
    assert isinstance(failures[0], BusDown)
    with pytest.raises(BusDown):
        await pipe.wait_up(0.01)


async def test_scripts_that_were_flushed_are_loaded_again(redis_server: RedisSite, keys: Keys) -> None:
    async with piped(redis_server.url) as pipe:
        await pipe.at(keys.workers).ask("SCRIPT", "FLUSH")
        with pytest.raises(BusDown):
            await pipe.script("register", (keys.workers,), (1_000,))
        await down(pipe)
        await pipe.wait_up(UP)
        assert await pipe.script("register", (keys.workers,), (1_000,)) == []


@pytest.mark.one_server
async def test_a_lost_connection_fails_what_is_under_way(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), piped(url) as pipe:
        proxy.hold()
        under_way = [pipe.future("register", (keys.workers,), (60_000, f"w{n}")) for n in range(3)]
        await proxy.held.wait()
        proxy.cut()
        for future in under_way:
            with pytest.raises(BusDown):
                await future
        await pipe.wait_up(UP)
        # They ran, and nobody was told: that is what BusDown says.
        assert sorted(await pipe.script("register", (keys.workers,), (60_000,))) == [b"w0", b"w1", b"w2"]


@pytest.mark.one_server
async def test_a_late_reply_costs_the_connection_and_never_answers_another(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), piped(url, timeout=0.2) as pipe:
        proxy.hold()
        with pytest.raises(BusDown):
            await pipe.ask("ECHO", "late")
        proxy.release()
        lost = True
        while lost:  # Redis may be late again
            await pipe.wait_up(UP)
            replies = await pipe.asks(("ECHO", n) for n in range(5))
            lost = any(isinstance(reply, BusDown) for reply in replies)
            assert all(isinstance(reply, BusDown) or reply == b"%d" % n for n, reply in enumerate(replies))


@pytest.mark.one_server
async def test_who_gives_up_keeps_the_place_in_the_line(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), piped(url) as pipe:
        proxy.hold()
        async with asyncio.TaskGroup() as group:
            impatient = [group.create_task(pipe.ask("ECHO", f"secret {n}")) for n in range(3)]
            patient = group.create_task(pipe.ask("ECHO", "mine"))
            together = group.create_task(pipe.asks([("ECHO", "a secret"), ("ECHO", "too")]))
            last = group.create_task(pipe.ask("ECHO", "mine too"))
            await proxy.held.wait()
            for task in (*impatient, together):
                task.cancel()
            proxy.release()
        assert (patient.result(), last.result()) == (b"mine", b"mine too")
        assert all(task.cancelled() for task in impatient)


async def test_too_many_commands_are_refused_and_the_rest_runs(
    redis_server: RedisSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus.pipe.pipe, "MAX_IN_FLIGHT", 3)
    monkeypatch.setattr(bus.pipe.link, "MAX_IN_FLIGHT", 3)
    async with piped(redis_server.url) as pipe:
        replies = await pipe.asks(("ECHO", n) for n in range(5))
        assert replies[:3] == [b"0", b"1", b"2"]
        assert all(isinstance(reply, Overloaded) for reply in replies[3:])


@pytest.mark.one_server
async def test_what_the_socket_cannot_take_is_bounded(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus.pipe.line, "MAX_UNSENT", 1_000_000)
    async with holding_proxy(redis_server.port) as (proxy, url), piped(url) as pipe:
        proxy.stop_reading()
        replies: list[Reply] = []
        while not any(isinstance(reply, Overloaded) for reply in replies):
            pipe.post(("SET", keys.installation, bytes(500_000)), replies.append)
            await asyncio.sleep(0)
        proxy.release()
        while isinstance((await pipe.asks([("PING",)]))[0], Overloaded):
            pass
        assert b"OK" in replies
        assert await pipe.ask("PING") == b"PONG"


async def test_a_caller_whose_callback_fails_harms_nobody_else(redis_server: RedisSite) -> None:
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context["message"]))
    replies: list[Reply] = []

    def broken(_: Reply) -> None:
        raise ValueError("a bug")

    async with piped(redis_server.url) as pipe:
        pipe.post(("ECHO", 1), broken)
        pipe.post(("ECHO", 2), replies.append)
        await down(pipe)
        await pipe.wait_up(UP)
        assert await pipe.ask("ECHO", 3) == b"3"
    assert complaints
    assert len(replies) == 1
    assert isinstance(replies[0], BusDown)


async def test_redis_may_restart(tmp_path: Path, keys: Keys) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        async with piped(redis.url) as pipe:
            await pipe.ask("SET", keys.installation, "kept")
            redis.kill()
            await down(pipe)
            with pytest.raises(BusDown):
                await pipe.ask("GET", keys.installation)
            await asyncio.to_thread(redis.start)
            await pipe.wait_up(UP)
            assert await pipe.ask("GET", keys.installation) == b"kept"
            assert await pipe.script("register", (keys.workers,), (1_000,)) == []


async def close_with(redis: RedisSite, password: str) -> None:
    async with open_pipe(redis.url) as pipe:
        await pipe.ask("CONFIG", "SET", "requirepass", password)


async def test_a_password_a_name_and_a_database_are_used(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        await close_with(redis, "open-sesame")
        for who in (":open-sesame", "default:open-sesame"):
            async with open_pipe(f"redis://{who}@127.0.0.1:{redis.port}/3") as pipe:
                listed = await pipe.ask("CLIENT", "LIST")
                assert b"name=test" in listed
                assert b"db=3" in listed


async def test_a_wrong_password_is_no_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        await close_with(redis, "open-sesame")
        caplog.clear()
        pipe = Pipe(f"redis://:wrong-secret@127.0.0.1:{redis.port}/0", name="test", clock=SystemClock())
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            running = group.create_task(pipe.run())
            with pytest.raises(BusDown):
                await pipe.try_up(UP)
            with pytest.raises(BusDown):
                await pipe.wait_up(0.3)  # nor when it is tried again
            running.cancel()
    assert [record.message for record in caplog.records] == ["no connection to Redis"]
    assert "wrong-secret" not in str([vars(record) for record in caplog.records])


async def test_a_unix_socket_will_do(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", options={"unixsocket": str(tmp_path / "s")}):
        async with open_pipe(f"unix://{tmp_path / 's'}") as pipe:
            assert await pipe.ask("PING") == b"PONG"


async def test_a_server_that_talks_nonsense_is_dropped() -> None:
    async with talker(b"no reply at all\r\n") as url:
        with pytest.raises(BusDown):
            await direct(url).connect()


async def test_replies_that_nobody_asked_for_cost_the_connection() -> None:
    async with talker(b"+OK\r\n" * 1_000) as url:
        line = await direct(url).connect()
        await line.ended.wait()
        assert line.lost is not None


@asynccontextmanager
async def talker(said: bytes) -> AsyncIterator[str]:
    """A server that says something without being asked, as no Redis would."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                await reader.read(1)
                writer.write(said)
                while await reader.read(65_536):
                    pass
        finally:
            writer.transport.abort()  # also when the test is over before the client has hung up

    async with asyncio.timeout(30), await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
