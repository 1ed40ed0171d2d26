"""`tocsin dev` as a newcomer meets it: one command, a page, an event that arrives, and nothing left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from redis import Redis
from tocsin_system import LIMIT, client, descendants, dev, is_gone, tocsin

from tocsin.embedded import EmbeddedRedis
from tocsin.trouble import CONFIG, FAILED, UNAVAILABLE


async def until_gone(pids: set[int]) -> None:
    async with asyncio.timeout(LIMIT):
        while not all(map(is_gone, pids)):  # noqa: ASYNC110  # no event of ours tells of another process
            await asyncio.sleep(0.01)


@pytest.mark.slow
async def test_an_event_reaches_the_page_and_a_restart_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    async with asyncio.timeout(LIMIT):
        with dev(folder) as system:
            async with httpx.AsyncClient(follow_redirects=True, timeout=LIMIT) as browser:
                assert "<title>Tocsin</title>" in (await browser.get(system.page)).text
            # Before there is a connection, which may not wait for long to say whose it is.
            token = system.token("alice")
            async with client(system.ws) as alice:
                connected = await alice.ask("connect", token=token)
                place = connected["connect"]["subs"]["inbox"]
                assert "accepted" in system.tocsin("publish", "--user", "alice", "--title", "One").stdout
                assert (await alice.publication("inbox"))["data"]["title"] == "One"
            system.tocsin("publish", "--user", "alice", "--title", "Two")
        with dev(folder) as system:
            async with client(system.ws) as alice:
                recover = {"inbox": {"recover": True, "epoch": place["epoch"], "offset": place["offset"]}}
                connected = await alice.ask("connect", token=token, subs=recover)
                inbox = connected["connect"]["subs"]["inbox"]
                assert inbox["recovered"]
                assert [p["data"]["title"] for p in inbox["publications"]] == ["One", "Two"]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
async def test_nothing_is_left_behind(tmp_path: Path, how: signal.Signals) -> None:
    with dev(tmp_path, *(["--workers", "2"] if how is signal.SIGKILL else [])) as system:
        children = descendants(system.process.pid)
        assert len(children) >= 3
        system.process.send_signal(how)
        code = system.process.wait(LIMIT)
        assert code == (0 if how is not signal.SIGKILL else -signal.SIGKILL)
        await until_gone(children)


@pytest.mark.slow
async def test_what_is_killed_comes_back(tmp_path: Path) -> None:
    with dev(tmp_path) as system:
        for pid in descendants(system.process.pid):
            with suppress(ProcessLookupError):  # some die with those before them
                os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(LIMIT):
            while system.tocsin("publish", "--user", "alice", check=False).returncode:
                pass
            token = system.token("alice")
            async with client(system.ws) as alice:
                await alice.ask("connect", token=token)
                system.tocsin("publish", "--user", "alice", "--title", "Back")
                while (await alice.publication("inbox"))["data"].get("title") != "Back":
                    pass


@pytest.mark.slow
def test_the_tools_find_the_running_system(tmp_path: Path) -> None:
    with dev(tmp_path) as system:
        system.tocsin("publish", "--topic", "news:sport", "--title", "Goal", "--json")
        # redis-cli is handed all that follows, so it is told of the folder by the variable.
        environ = {"TOCSIN_DATA": str(tmp_path)}
        assert tocsin("redis-cli", "ping", environ=environ).stdout == "PONG\n"
        stream = tocsin("partitions", "alice", "--json").stdout.split('"events": "')[1].split('"')[0]
        tocsin("redis-cli", "XADD", stream, "*", "e", "not json", environ=environ)
        with Redis.from_url(system.redis_url) as redis:
            assert redis.xlen(stream) >= 1


# Refusals --------------------------------------------------------------------------------------------------------


def refused(folder: Path, *options: str, redis_url: str | None = None) -> tuple[int, str]:
    environ = {"TOCSIN_REDIS_URL": redis_url} if redis_url else {}
    ran = tocsin("dev", "--data-folder", str(folder), *options, check=False, environ=environ)
    assert ran.stdout == ""
    assert "Traceback" not in ran.stderr
    return ran.returncode, ran.stderr


def test_a_port_that_is_taken_is_told_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = refused(tmp_path / "data", "--port", port)
    assert code == CONFIG
    assert f"port {port}" in said
    assert "--port" in said
    assert not (tmp_path / "data").exists()


def test_a_second_system_on_the_folder_is_refused(tmp_path: Path) -> None:
    with dev(tmp_path) as system:
        code, said = refused(tmp_path, "--port", "0")
        assert code == FAILED
        assert str(system.process.pid) in said
        assert "--data-folder" in said


def test_an_evicting_redis_is_refused_with_what_to_change(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", options={"maxmemory-policy": "allkeys-lru"}) as redis:
        code, said = refused(tmp_path / "data", "--port", "0", redis_url=redis.url)
    assert code == CONFIG
    assert "CONFIG SET maxmemory-policy noeviction" in said


def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis") as redis:
        with Redis.from_url(redis.url) as client:
            client.hset("tocsin:installation", "partitions", "8")
        code, said = refused(tmp_path / "data", "--port", "0", redis_url=redis.url)
    assert code == CONFIG
    assert "TOCSIN_PARTITIONS=8" in said


class _OldRedis(socketserver.StreamRequestHandler):
    """Answers as Redis 5 does; there is none to be had any more."""

    def handle(self) -> None:
        while line := self.rfile.readline():
            arguments = [self._argument() for _ in range(int(line[1:]))]
            info = b"# Server\r\nredis_version:5.0.14\r\nmaxmemory_policy:noeviction\r\n"
            self.wfile.write(b"$%d\r\n%s\r\n" % (len(info), info) if arguments[0].upper() == b"INFO" else b"+OK\r\n")

    def _argument(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:-2]


@contextmanager
def old_redis() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _OldRedis) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"redis://127.0.0.1:{server.server_address[1]}/0"
        server.shutdown()


def test_an_old_redis_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with old_redis() as url:
        code, said = refused(tmp_path / "data", "--port", "0", redis_url=url)
    assert code == CONFIG
    assert "5.0.14" in said
    assert "6.2" in said


def test_a_redis_that_does_not_answer_is_told(tmp_path: Path) -> None:
    code, said = refused(tmp_path / "data", "--port", "0", redis_url="redis://:secret@127.0.0.1:9/0")
    assert code == UNAVAILABLE
    assert "TOCSIN_REDIS_URL" in said
    assert "secret" not in said


def test_a_role_of_its_own_is_refused_as_clearly(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis, socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = tocsin("gateway", check=False, environ={"TOCSIN_PORT": port, "TOCSIN_REDIS_URL": redis.url})
        assert (ran.returncode, ran.stderr.count("\n")) == (CONFIG, 1)
        assert "the port is taken" in ran.stderr
        with Redis.from_url(redis.url) as client:
            client.config_set("maxmemory-policy", "volatile-lru")
        for role in ("gateway", "fanout"):
            ran = tocsin(role, check=False, environ={"TOCSIN_PORT": "0", "TOCSIN_REDIS_URL": redis.url})
            assert ran.returncode == CONFIG, ran.stderr
            assert "CONFIG SET maxmemory-policy noeviction" in ran.stderr
            assert "Traceback" not in ran.stderr
