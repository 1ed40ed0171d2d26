"""The commands that go to Redis themselves, on every form of it; and what is said of a URL that is none."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from bus.address import BadAddress, OneServer, Place, read_address
from bus.keys import Keys
from tests.servers import RedisSite
from tocsin.redis_cli import options


def tocsin(url: str, keys: Keys, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "TOCSIN_REDIS_URL": url, "TOCSIN_PREFIX": keys.prefix, "TOCSIN_PARTITIONS": "8"}
    environ |= {"TOCSIN_CONFIG": "/nowhere/tocsin.toml"}
    command = [sys.executable, "-m", "tocsin", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.sites
def test_dead_letters_are_listed_and_sent_again_wherever_they_are(site: RedisSite, keys: Keys) -> None:
    with site.client() as redis:
        for p in range(8):
            redis.xadd(keys.dead(p), {"queue": "events", "entry": "1-0", "reason": "why", "attempts": 1, "e": "{}"})
        listed = tocsin(site.url, keys, "dead", "ls", "--json")
        assert listed.returncode == 0, listed.stderr
        assert len(json.loads(listed.stdout)) == 8
        replayed = tocsin(site.url, keys, "dead", "replay", "--reason", "why")
        assert replayed.returncode == 0, replayed.stderr
        assert [redis.xlen(keys.events(p)) for p in range(8)] == [1] * 8
        assert [redis.xlen(keys.dead(p)) for p in range(8)] == [0] * 8


@pytest.mark.sites
def test_redis_cli_is_opened_wherever_redis_is(site: RedisSite, keys: Keys) -> None:
    for number in range(2):  # of a cluster on any master
        said = tocsin(site.url, keys, "redis-cli", "SET", f"{keys.prefix}:{number}", "here")
        assert (said.stdout, said.stderr) == ("OK\n", "")
    with site.client() as redis:
        assert [redis.get(f"{keys.prefix}:{number}") for number in range(2)] == [b"here"] * 2


def test_what_a_url_says_is_said_to_redis_cli_but_for_the_password() -> None:
    place = Place("h", 1)
    told = {
        "redis://:secret@h:1/3": "-h h -p 1 -n 3",
        "rediss://us%40er:secret@h:1?ssl_ca_certs=/ca": "-h h -p 1 --user us@er --tls --cacert /ca",
        "redis+cluster://h:1,i:2": "-h h -p 1 -c",
        "redis+sentinel://s:2/main?db=4": "-h h -p 1 -n 4",
    }
    for url, expected in told.items():
        address = read_address(url)
        assert not isinstance(address, BadAddress)
        assert " ".join(options(address, place)) == expected
    socket = read_address("unix:///run/redis.sock?db=2")
    assert isinstance(socket, OneServer)
    assert options(socket, socket.place) == ["-s", "/run/redis.sock", "-n", "2"]


def test_a_url_that_is_none_is_a_setting_that_is_wrong_and_no_secret_is_told(keys: Keys) -> None:
    for command in (("dead", "ls"), ("fanout",)):
        failed = tocsin("redis+sentinel://:Sesame77@h1,h2", keys, *command)
        assert failed.returncode == 78
        assert "does not name the service whose master is meant; write redis+sentinel://" in failed.stderr
        assert "Sesame77" not in failed.stderr + failed.stdout


def test_a_redis_that_is_away_is_said_at_once(keys: Keys) -> None:
    for url in ("redis://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main", "redis+cluster://127.0.0.1:1"):
        failed = tocsin(url, keys, "dead", "ls")
        assert failed.returncode == 69
        assert "Is Redis running, and is TOCSIN_REDIS_URL right?" in failed.stderr
