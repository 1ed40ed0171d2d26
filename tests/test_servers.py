"""The servers that tests start: that they work, that what is done to them happens, and that they always end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import RedisCluster
from redis.exceptions import NoPermissionError, RedisClusterException, RedisError

from tests.redis_clients import aclient, client
from tests.servers import Account, Cluster, Plan, RedisSite, SentinelTrio, start
from tests.tocsin_system import is_gone

pytestmark = pytest.mark.sites


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelTrio]:
    with start("sentinel", tmp_path_factory.mktemp("trio")) as made:
        assert isinstance(made, SentinelTrio)
        yield made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with start("cluster", tmp_path_factory.mktemp("cluster")) as made:
        assert isinstance(made, Cluster)
        yield made


def test_what_is_written_is_read(site: RedisSite) -> None:
    with site.client() as redis:
        redis.set("written", "here")
        assert redis.get("written") == b"here"
    assert len(site.masters()) == (3 if site.kind == "cluster" else 1)


async def test_it_is_read_under_a_loop_too(site: RedisSite) -> None:
    async with aclient(site.url) as redis:
        await redis.set("written", "there")
        assert await redis.get("written") == b"there"


@pytest.mark.parametrize("kind", ["trio", "cluster"])
def test_a_killed_master_is_replaced_and_comes_back_as_a_replica(kind: str, request: pytest.FixtureRequest) -> None:
    made: RedisSite = request.getfixturevalue(kind)
    before = made.masters()[0]
    with made.client() as redis:
        redis.set("kept", "through it")
        if not isinstance(redis, RedisCluster):
            assert redis.wait(2, 30_000) == 2
    made.kill(before)
    after = made.replaced(before)
    assert after is not before
    made.restart(before)
    made.until_whole()
    assert before in made.replicas()
    with made.client() as redis:
        assert redis.get("kept") == b"through it"


@pytest.mark.parametrize("kind", ["trio", "cluster"])
def test_what_was_not_replicated_is_lost(kind: str, request: pytest.FixtureRequest) -> None:
    made: RedisSite = request.getfixturevalue(kind)
    before = made.masters()[0]
    key = next(f"lost{n}" for n in range(1_000) if not isinstance(made, Cluster) or _slot_owner(made, n) is before)
    made.cut_replication(before)
    before.ask("SET", key, "1")
    after = made.failover(before, hard=True)
    assert after.ask("GET", key) is None
    before.kill()  # its replication was cut for it alone; the file it starts from knows nothing of that
    made.restart(before)
    made.until_whole()


def _slot_owner(made: Cluster, number: int) -> object:
    return made.owner(made.nodes[0].ask("CLUSTER", "KEYSLOT", f"lost{number}"))


def test_slots_move_with_their_keys(cluster: Cluster) -> None:
    with cluster.client() as redis:
        for number in range(60):
            redis.set(f"moved{number}", number)
        source, target = cluster.masters()[0], cluster.masters()[-1]
        slots = cluster.move_slots(20, source, target)
        assert len(slots) == 20
        assert set(slots) <= set(cluster.slots_of(target))
        assert [int(redis.get(f"moved{number}") or -1) for number in range(60)] == list(range(60))
    for slot in slots:
        cluster.move_slot(slot, source)


def test_a_frozen_server_goes_on(tmp_path: Path) -> None:
    with start("one", tmp_path) as made:
        made.pause()
        with client(made.url, socket_timeout=0.2) as redis, pytest.raises(RedisError):
            redis.ping()
        made.resume()
        with made.client() as redis:
            assert redis.ping()


def test_what_is_on_disk_outlives_the_server(tmp_path: Path) -> None:
    with start("one", tmp_path, Plan(options={"appendfsync": "always"})) as made:
        with made.client() as redis:
            redis.set("kept", "1")
        made.kill()
        assert made.masters() == []
        made.restart()
        with made.client() as redis:
            assert redis.get("kept") == b"1"
        made.flushall()
        made.config_set("maxmemory", 1_000_000)
        with made.client() as redis:
            assert redis.get("kept") is None
            assert redis.config_get("maxmemory") == {"maxmemory": "1000000"}


def test_accounts_are_all_that_opens_it(tmp_path: Path, site_kind: str) -> None:
    reader = Account("reader", "secret", "~a* +get +cluster|slots +command +role", "+sentinel +ping")
    with start(site_kind, tmp_path, Plan(accounts=[reader])) as made:
        with made.client() as redis:
            redis.set("a", "1")
        with client(made.url_of(reader)) as redis:
            assert redis.get("a") == b"1"
            with pytest.raises(NoPermissionError):
                redis.set("a", "2")
        with pytest.raises((RedisError, RedisClusterException)), client(made.url_of(None)) as redis:
            redis.get("a")


def test_servers_end_with_the_tests_even_when_those_are_killed(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib; from tests.servers import start\n"
        "with start('sentinel', pathlib.Path(sys.argv[1])) as made:\n"
        "    print(*[node.pid for node in made.nodes], flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=".") as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 6
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 30
    while not all(is_gone(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.02)
