"""The compose file of a cluster: what it names is there, and the users it makes may do what they must, and log in."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from tests.ports import free_port
from tests.tocsin_system import tocsin
from tocsin.embedded import EmbeddedRedis

DEPLOY = Path(__file__).parents[2] / "deploy"
BASE = (DEPLOY / "compose.yaml").read_text()
TEXT = (DEPLOY / "compose.cluster.yaml").read_text()


def services(text: str) -> set[str]:
    part = re.split(r"\n(?:networks|volumes):\n", text.split("\nservices:\n")[1])[0]
    return set(re.findall(r"^  ([a-z0-9-]+):", part, re.MULTILINE))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the files were made as the comment says."""
    folder = tmp_path_factory.mktemp("deploy")
    (folder / "users.py").write_text((DEPLOY / "users.py").read_text())
    rows = tocsin("acl", "--json").stdout
    subprocess.run([sys.executable, "users.py"], input=rows, text=True, check=True, cwd=folder, timeout=30)
    return folder


def passwords(folder: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / "cluster.env").read_text().splitlines())


def test_every_role_of_the_other_file_is_told_of_the_cluster() -> None:
    roles = {name for name in services(BASE) if name not in ("nginx", "redis")}
    nodes = {"redis", *(f"redis-{n}" for n in range(2, 7))}
    assert services(TEXT) == roles | nodes | {"cluster"}
    addresses = re.findall(r"ipv4_address: ([0-9.]+)", TEXT)
    assert len(addresses) == len(set(addresses)) == len(nodes)
    made_of = set(re.findall(r"([0-9.]+):6379", TEXT.split("--cluster create")[1].split("--cluster-replicas")[0] + " "))
    assert made_of == set(addresses)
    for role in ("gateway", "fanout", "deliver"):
        (url,) = re.findall(rf"redis\+cluster://(tocsin-{role}:\$\{{TOCSIN_REDIS_{role.upper()}_PASSWORD\}}@\S+)", TEXT)
        assert set(re.findall(r"([0-9.]+):6379", url)) <= set(addresses)


def test_what_it_asks_for_is_what_is_made(made: Path) -> None:
    assert set(re.findall(r"\$\{(\w+)", TEXT)) <= passwords(made).keys()
    assert (made / "cluster.env").stat().st_mode & 0o077 == 0
    acl = (made / "users.acl").read_text()
    assert not any(password in acl for password in passwords(made).values())


def test_the_users_can_log_in_and_nobody_else_can(made: Path, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path / "redis", port=free_port()) as server:
        admin = Redis.from_url(server.url)
        lines = [line.split() for line in (made / "users.acl").read_text().splitlines()]
        assert lines[0][:2] == ["user", "default"]
        assert {"off", "resetpass"} <= set(lines[0][2:])
        for _, name, *rules in lines[1:]:
            admin.execute_command("ACL SETUSER", name, "reset", *rules)  # type: ignore[no-untyped-call]
        for role, (_, name, *_) in zip(passwords(made), lines[1:], strict=True):
            with Redis.from_url(server.url, username=name, password=passwords(made)[role]) as client:
                assert client.ping()
        nodes = {"username": "nodes", "password": passwords(made)["TOCSIN_REDIS_NODES_PASSWORD"]}
        with Redis.from_url(server.url, **nodes) as client:
            assert "role" in client.info("replication")
            with pytest.raises(Exception, match="no permissions"):
                client.get("tocsin:x")
        admin.close()


def test_files_with_passwords_are_kept_out_of_the_repository() -> None:
    ignored = (DEPLOY.parent / ".gitignore").read_text().splitlines()
    assert {"deploy/users.acl", "deploy/cluster.env"} <= set(ignored)
    assert json.loads(tocsin("acl", "--json").stdout)[0]["name"] == "tocsin-gateway"
