"""A Redis that would lose notifications is refused by every role, with what to change; an absent one is waited for."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from random import Random

import pytest
from redis import Redis

from bus.keys import Keys
from tests.faults.crowd import INBOX, Person, eventually, gathered
from tests.ports import free_port
from tests.system import SECRET, Gateway, Role, System
from tests.tocsin.test_dev_system import old_redis
from tests.tocsin_system import clean_environ, command
from tocsin.embedded import EmbeddedRedis
from tocsin.trouble import CONFIG

ROLES = ("gateway", "fanout")


def refused(role: str, url: str) -> str:
    """What a role says that must not start there."""
    environ = clean_environ({"TOCSIN_REDIS_URL": url, "TOCSIN_PORT": str(free_port()), "TOCSIN_TOKEN_SECRET": "x" * 32})
    ran = subprocess.run(command(role), capture_output=True, text=True, timeout=60, check=False, env=environ)
    assert ran.returncode == CONFIG
    assert "Traceback" not in ran.stderr
    return ran.stderr


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_one_that_evicts(tmp_path: Path, role: str, policy: str) -> None:
    with EmbeddedRedis(tmp_path, options={"maxmemory-policy": policy}) as redis:
        said = refused(role, redis.url)
    assert policy in said
    assert "CONFIG SET maxmemory-policy noeviction" in said


@pytest.mark.parametrize("role", ROLES)
def test_one_that_is_too_old(role: str) -> None:
    with old_redis() as url:
        said = refused(role, url)
    assert "5.0.14" in said
    assert "6.2" in said


@pytest.mark.parametrize("role", ROLES)
def test_one_of_an_installation_of_another_size(tmp_path: Path, role: str) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        with Redis.from_url(redis.url) as client:
            client.hset("tocsin:installation", "partitions", "8")
        assert "TOCSIN_PARTITIONS=8" in refused(role, redis.url)


@pytest.mark.slow
async def test_roles_may_be_started_before_their_redis(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path / "redis", port=free_port())
    environ = {"TOCSIN_REDIS_URL": redis.url, "TOCSIN_TOKEN_SECRET": SECRET, "TOCSIN_DRAIN_SECONDS": "0.1"}
    port = free_port()
    gateway = Gateway("gateway", {**environ, "TOCSIN_PORT": str(port)}, tmp_path / "gateway.log", port=port)
    fanout = Role("fanout", environ, tmp_path / "fanout.log")
    made = System(redis, environ, {}, gateways=[gateway], workers=[fanout])
    try:
        for role in made.roles:
            role.start()
        await eventually(lambda: all("waiting for Redis" in role.log.read_text() for role in made.roles))
        await asyncio.to_thread(redis.start)
        await asyncio.to_thread(gateway.until_ready)
        person = Person("alice", [], [port], Random(1))
        with Redis.from_url(redis.url) as client:
            async with asyncio.timeout(60), gathered([person]):
                event = {"type": "note", "to": {"users": ["alice"]}, "data": "hello"}
                client.xadd(Keys("tocsin", 64).events(0), {"e": json.dumps(event)})
                await eventually(lambda: person.got[INBOX] == ["hello"])
        assert [role.end() for role in made.roles] == [0, 0]
        assert made.log_faults() == []
    finally:
        for role in made.roles:
            role.kill()
        redis.stop()
