"""A whole system to be broken: real roles on a real Redis of any form, and a proxy on every way that can fail.

    client ── door ──▶ gateway ── wire ──▶ Redis ◀── wire ── fanout, deliver

A wire has a link to each server. The addresses of a cluster's masters, and of those that sentinels name, come from
Redis itself: there the roles are run by `tests.faults.rewired`.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from bus.keys import Keys
from tests import servers
from tests.faults.chaos import Chaos, Link, chaos
from tests.ports import free_port
from tests.redis_node import Node
from tests.servers import Plan, RedisSite
from tests.system import KEY, OPEN, SECRET, Gateway, Role, accounts_for
from tests.tocsin_system import clean_environ
from tocsin.toml import to_toml

PARTITIONS = 8
SEAL = base64.urlsafe_b64encode(bytes((1,)) * 32).decode()
INDEX = base64.urlsafe_b64encode(bytes((9,)) * 32).decode()
QUICK: Mapping[str, Any] = {
    "partitions": PARTITIONS,
    "directory_keys": [f"k1:{SEAL}"],
    "directory_index_key": INDEX,
}
ROLES: Mapping[str, Mapping[str, Any]] = {
    "gateway": {
        "node_ttl": 3.0,
        "position_check": 3.0,
        "ping_interval": 4.0,
        "pong_timeout": 2.0,
        "drain_seconds": 1.0,
    },
    "fanout": {"worker_ttl": 1.0, "lease_ttl": 1.0, "batch": 20},
    "deliver": {"worker_ttl": 1.0, "lease_ttl": 1.0, "allow_private_addresses": True},
}
"""Settings under which what takes seconds by default takes less."""
REPLICAS: Mapping[str, int] = {"one": 1, "sentinel": 2, "cluster": 1}
"""Of each master: any may be promoted, so what is to outlive the master has to be on all of them."""
TOCSIN = ("tocsin",)


@dataclass
class Worker(Role):
    """A role with arguments, which may be run by another program than `tocsin`."""

    argv: tuple[str, ...] = ()
    program: tuple[str, ...] = TOCSIN

    def start(self) -> None:
        _start(self, self.program, self.argv)


@dataclass
class Front(Gateway):
    """A gateway that may be run by another program."""

    program: tuple[str, ...] = TOCSIN

    def start(self) -> None:
        _start(self, self.program, ())


def _start(role: Role, program: tuple[str, ...], argv: tuple[str, ...]) -> None:
    with role.log.open("ab") as log:
        role._process = subprocess.Popen(
            [sys.executable, "-m", *program, role.name, *argv],
            stdout=log,
            stderr=log,
            env=clean_environ(role.environ),
            start_new_session=True,
        )


@dataclass(frozen=True)
class Wire:
    """The links of one role to all servers, by their ports. What is done to it is done to each of them."""

    links: Mapping[int, Link]

    def to(self, node: Node) -> Link:
        """The link to one server."""
        return self.links[node.port]

    def hold(self) -> None:
        """As of `Link`, as all of these."""
        for link in self.links.values():
            link.hold()

    def delay(self, seconds: float) -> None:
        for link in self.links.values():
            link.delay(seconds)

    def reset(self) -> None:
        for link in self.links.values():
            link.reset()

    def cut(self) -> None:
        for link in self.links.values():
            link.cut()

    def half_open(self) -> None:
        for link in self.links.values():
            link.half_open()

    def heal(self) -> None:
        for link in self.links.values():
            link.heal()


@dataclass
class World:
    """What runs. `roles` by name, such as `gateway 0`; `wires` are their ways to Redis, `doors` the gateways' own."""

    site: RedisSite
    net: Chaos
    keys: Keys
    roles: dict[str, Role] = field(default_factory=dict)
    wires: dict[str, Wire] = field(default_factory=dict)
    doors: dict[str, Link] = field(default_factory=dict)

    @property
    def gateways(self) -> list[Gateway]:
        return [role for role in self.roles.values() if isinstance(role, Gateway)]

    @property
    def ports(self) -> list[int]:
        """Where clients connect."""
        return [link.port for link in self.doors.values()]

    @property
    def origins(self) -> list[str]:
        """Where producers post, by no proxy."""
        return [gateway.origin for gateway in self.gateways]

    def heal(self) -> None:
        """Nothing is broken any more: every link passes, every role and server runs."""
        self.net.heal()
        self.site.restart()
        for role in self.roles.values():
            if not role.runs:
                role.start()
            else:
                os.kill(role.pid, signal.SIGCONT)

    def faults(self) -> list[str]:
        """Lines that the roles logged and that are no log lines, or carry an exception."""
        lines = [line for role in self.roles.values() for line in role.log.read_text().splitlines()]
        return [line for line in lines if not line.startswith('{"time"') or '"error": {' in line]


@contextmanager
def world(
    folder: Path,
    kind: str = "one",
    *,
    gateways: int = 2,
    fanouts: int = 2,
    delivers: int = 2,
    redis: Mapping[str, str] | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    program: tuple[str, ...] = TOCSIN,
    server: str | None = None,
    channels: Sequence[str] = ("webhook",),
) -> Iterator[World]:
    """A world that is ready when the block begins. Every role has the Redis user that `tocsin acl` makes for it.

    `settings`: of a role, beside those of `ROLES`; `program`: the module that runs the roles; `server`: that of Redis;
    `channels`: what each delivery worker works.
    """
    given = {role: {**own, **(settings or {}).get(role, {})} for role, own in ROLES.items()}
    given["gateway"].setdefault("replicas", REPLICAS[kind])
    keys = {"shop": {"sha256": sha256(KEY.encode()).hexdigest(), "scopes": ["events", "admin"]}}
    table = {**QUICK, "namespaces": {"room": OPEN}, **given, "gateway": {**given["gateway"], "api_keys": keys}}
    config = folder / "tocsin.toml"
    config.write_text(to_toml(table))
    accounts = accounts_for("tocsin")
    options = {"appendfsync": "always", "slowlog-log-slower-than": "10000", **(redis or {})}
    plan = Plan(options, accounts=[*accounts.values()], program=server)
    environ = {"TOCSIN_CONFIG": str(config), "TOCSIN_TOKEN_SECRET": SECRET}
    with ExitStack() as stack:
        site = stack.enter_context(servers.start(kind, folder / "redis", plan))
        made = World(site, stack.enter_context(chaos()), Keys("tocsin", PARTITIONS))
        for name, count in (("gateway", gateways), ("fanout", fanouts), ("deliver", delivers)):
            for number in range(count):
                own = environ | {"TOCSIN_REDIS_URL": site.url_of(accounts[name])}
                _add(made, name, number, folder, own, program, channels)
        for role in made.roles.values():
            stack.callback(role.kill)
            role.start()
        for gateway in made.gateways:
            gateway.until_ready()
        yield made
        for role in made.roles.values():
            role.end()
        assert made.faults() == []


def _add(
    made: World,
    name: str,
    number: int,
    folder: Path,
    environ: Mapping[str, str],
    program: tuple[str, ...],
    channels: Sequence[str],
) -> None:
    title, own, log = f"{name} {number}", dict(environ), folder / f"{name}{number}.log"
    wire = made.wires[title] = Wire({node.port: made.net.link(node.port) for node in made.site.nodes})
    if made.site.kind == "one":
        link = wire.to(made.site.nodes[0])
        own["TOCSIN_REDIS_URL"] = own["TOCSIN_REDIS_URL"].replace(f":{made.site.port}/", f":{link.port}/")
    elif program == TOCSIN:
        file = folder / f"{name}{number}.wire"
        file.write_text(json.dumps({port: link.port for port, link in wire.links.items()}))
        program = ("tests.faults.rewired", str(file))
    if name == "gateway":
        port = free_port()
        made.roles[title] = Front(name, own | {"TOCSIN_PORT": str(port)}, log, port=port, program=program)
        made.doors[title] = made.net.link(port)
    else:
        argv = tuple(part for each in channels for part in ("--channel", each)) if name == "deliver" else ()
        made.roles[title] = Worker(name, own, log, argv=argv, program=program)
