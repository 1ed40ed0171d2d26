"""`tocsin gateway --workers N`: each process is a node of its own with a door of its own; they share a port, and one
that is killed is replaced."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from tests.faults.crowd import Person, eventually, gathered
from tests.ports import free_port, free_ports
from tests.redis_clients import client as redis_client
from tests.system import SECRET, Gateway, System, system
from tests.tocsin_system import clean_environ, command, tocsin
from tocsin.embedded import EmbeddedRedis

WORKERS = 3
PEOPLE = 60
TOPIC = "room:all"


def command_line(pid: str) -> bytes:
    """What it was started as; nothing once it has gone, as it may have since it was found."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@dataclass
class Many(Gateway):
    """One gateway of several processes. `doors`: the own port of each."""

    doors: list[Gateway] = field(default_factory=list)

    def start(self) -> None:
        with self.log.open("ab") as log:
            argv = command(self.name, "--workers", str(WORKERS))
            environ = clean_environ(self.environ)
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, env=environ, start_new_session=True)

    def pids(self) -> list[int]:
        """The processes that are nodes; there is one more, which keeps the books of what they share."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in command_line(pid)]

    def connections(self) -> list[float]:
        return [door.metric("tocsin_gateway_connections") for door in self.doors]


@contextmanager
def many(made: System, folder: Path) -> Iterator[Many]:
    port, first = free_port(), free_ports(WORKERS)[0]
    environ = made.environ("gateway") | {"TOCSIN_PORT": str(port), "TOCSIN_METRICS_PORT": str(first)}
    doors = [Gateway("gateway", environ, folder / "many.log", port=first + n) for n in range(WORKERS)]
    gateway = Many("gateway", environ, folder / "many.log", port=port, doors=doors)
    try:
        gateway.start()
        yield gateway
    finally:
        gateway.kill()


def ready(gateway: Many) -> bool:
    return all(door.status("/readyz") == 200 for door in gateway.doors)


@pytest.mark.slow
async def test_each_is_a_node_one_that_is_killed_is_replaced_and_all_are_drained(tmp_path: Path) -> None:
    with system(tmp_path, gateways=0, node_ttl=4, drain_seconds=1) as made, many(made, tmp_path) as gateway:
        redis = redis_client(made.redis.url)
        people = [Person(f"user{n}", [TOPIC], [gateway.port], Random(n)) for n in range(PEOPLE)]

        async def everybody_ready() -> None:
            await eventually(lambda: all(person.ready.is_set() for person in people))

        async with asyncio.timeout(150):
            await eventually(lambda: ready(gateway))
            await eventually(lambda: redis.zcard("tocsin:nodes") == WORKERS)
            async with gathered(people):
                await everybody_ready()
                await eventually(lambda: sum(gateway.connections()) == PEOPLE)
                assert all(gateway.connections()), "the kernel gives each of them some"
                victim = gateway.pids()[0]
                os.kill(victim, signal.SIGKILL)
                await eventually(lambda: victim not in gateway.pids() and len(gateway.pids()) == WORKERS)
                await eventually(lambda: ready(gateway))
                await everybody_ready()
                await eventually(lambda: sum(gateway.connections()) == PEOPLE)
                await eventually(lambda: redis.zcard("tocsin:nodes") == WORKERS)
                closes = [len(person.closes) for person in people]
                assert 0 < sum(closes) < PEOPLE
                status = await asyncio.to_thread(gateway.end)
                await eventually(lambda: not any(person.ready.is_set() for person in people))
                assert {person.closes[-1][1] for person in people} == {3001}
        assert status == 0
        assert redis.zcard("tocsin:nodes") == 0
        stays = -1
        assert all(redis.ttl(key) != stays for key in redis.keys("tocsin:{node-*")), "of the killed one; they go"
        redis.close()
    faults = [line for line in (tmp_path / "many.log").read_text().splitlines() if '"error": {' in line]
    assert faults == []


def test_an_own_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", port=free_port()) as redis, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        own = {"TOCSIN_METRICS_PORT": str(taken.getsockname()[1]), "TOCSIN_PORT": str(free_port())}
        secrets = {"TOCSIN_REDIS_URL": redis.url, "TOCSIN_TOKEN_SECRET": SECRET}
        ended = tocsin("gateway", check=False, environ=own | secrets)
    assert ended.returncode == 78
    assert "TOCSIN_METRICS_PORT" in ended.stderr
