"""What every Redis of a test's own has, whatever its form, and the simplest form: one server."""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from tests import redis_clients
from tests.ports import node_ports
from tests.redis_node import Guard, Node, start_all
from tests.redis_programs import with_tls
from tocsin.acl import NOBODY
from tocsin.embedded import OPTIONS, find_server

PATIENCE = 60.0
"""Every change of a site is over by then, in seconds."""
DEAD_AFTER = 2.0
"""Seconds: a server that stands still for one, as it may on a machine that does other things too, is not dead."""


@dataclass(frozen=True, slots=True)
class Account:
    """A Redis user: rules as `ACL SETUSER` takes them; `sentinel` are those it has on the sentinels."""

    name: str
    password: str
    rules: str
    sentinel: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a site is made of.

    `options` go to every data server. `dead_after`: for so many seconds nobody answers until the others replace a
    master. `accounts`: when there are any, the default user can do nothing. `tls`: a PEM file with key and certificate;
    nothing but TLS is then spoken. `program`: the server, when not the first that is found.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    dead_after: float = DEAD_AFTER
    accounts: Sequence[Account] = ()
    tls: Path | None = None
    program: str | None = None


class RedisSite(ABC):
    """Servers of one form. `nodes` are all processes, sentinels too, as they were made; `masters` asks who is one now.

    All of it blocks: under a loop, call it by `asyncio.to_thread`.
    """

    kind: ClassVar[str]
    layout: ClassVar[Sequence[str]]
    """What each process is made as."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.plan = plan
        self._guard = Guard()
        self._secret = secrets.token_hex(16)
        program = plan.program or (with_tls() if plan.tls else find_server())
        self.nodes = [
            Node(
                made_as=part,
                port=port,
                folder=folder / f"{part}-{port}",
                program=program,
                guard=self._guard,
                config=[],
                options=self._client_options(),
            )
            for part, port in zip(self.layout, node_ports(len(self.layout)), strict=True)
        ]
        for node in self.nodes:
            node.config += self._config(node)

    # How it is reached -------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What `redis_url` is set to, with every right: for tests. Roles have accounts."""
        return self.url_of(self._admin if self.plan.accounts else None)

    @abstractmethod
    def url_of(self, account: Account | None) -> str:
        """What `redis_url` is set to for an account, or for nobody."""

    def client(self, **options: Any) -> Redis:
        """A redis-py client with every right (`RedisCluster` for a cluster)."""
        return redis_clients.client(self.url, **options)

    @property
    def _admin(self) -> Account:
        return Account("admin", self._secret, "~* &* +@all", "&* +@all")

    def _client_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"socket_timeout": redis_clients.TIMEOUT}
        if self.plan.accounts:
            options |= {"username": self._admin.name, "password": self._admin.password}
        if self.plan.tls:
            options |= {"ssl": True, "ssl_ca_certs": str(self.plan.tls)}
        return options

    def _make_url(self, form: str, account: Account | None, nodes: Sequence[Node], path: str, query: Any = ()) -> str:
        user = f"{quote(account.name)}:{quote(account.password)}@" if account else ""
        query = dict(query)
        if self.plan.tls:
            query["ssl_ca_certs"] = str(self.plan.tls)
        hosts = ",".join(node.name for node in nodes)
        scheme = ("rediss" if self.plan.tls else "redis") + form
        return f"{scheme}://{user}{hosts}{path}" + (f"?{urlencode(query)}" if query else "")

    # Its processes -----------------------------------------------------------------------------------------------

    @property
    def data_nodes(self) -> list[Node]:
        """Those that hold data."""
        return [node for node in self.nodes if node.made_as != "sentinel"]

    def masters(self) -> list[Node]:
        """The data nodes that answer now and say that they are masters."""
        return [node for node in self.data_nodes if role_of(node) == "master"]

    def replicas(self) -> list[Node]:
        """The data nodes that answer now and say that they are replicas."""
        return [node for node in self.data_nodes if role_of(node) == "slave"]

    @property
    def port(self) -> int:
        """Of the first server: for tests that are about one connection to one server."""
        return self.nodes[0].port

    @property
    def pid(self) -> int:
        """Of the first server."""
        return self.nodes[0].pid

    def start(self) -> None:
        """Start all that was made and wait until it is whole."""
        start_all(self.nodes)
        self.until_whole()

    def end(self) -> None:
        """End every process."""
        try:
            for node in self.nodes:
                node.kill()
        finally:
            self._guard.close()

    def kill(self, node: Node | None = None) -> None:
        """Crash a server, or all that hold data."""
        for one in self.data_nodes if node is None else [node]:
            one.kill()

    def restart(self, node: Node | None = None) -> None:
        """Start a server again that was ended, or all that were, on the same port and data."""
        nodes = [one for one in self.nodes if not one.runs] if node is None else [node]
        start_all(nodes)

    def pause(self, node: Node | None = None) -> None:
        """Freeze a server, or all that hold data."""
        for one in self.data_nodes if node is None else [node]:
            one.pause()

    def resume(self, node: Node | None = None) -> None:
        """Let go on what was frozen."""
        for one in self.data_nodes if node is None else [node]:
            one.resume()

    # What it holds -----------------------------------------------------------------------------------------------

    def flushall(self) -> None:
        """Forget everything."""
        for node in self.masters():
            node.ask("FLUSHALL")

    def config_set(self, name: str, value: str | int) -> None:
        """On every server that holds data and answers."""
        for node in self.data_nodes:
            if node.runs and not node.frozen:
                node.ask("CONFIG", "SET", name, value)

    # Changes of masters ------------------------------------------------------------------------------------------

    @abstractmethod
    def until_whole(self) -> None:
        """Wait until every server is there, every replica follows, and all agree."""

    def shard(self, node: Node) -> list[Node]:
        """The servers that have the same data as this one."""
        return self.data_nodes

    def failover(self, master: Node | None = None, *, hard: bool = False) -> Node:
        """Put a replica in the place of a master (default: the first), which becomes its replica; the new master.

        A cluster hands over without loss, unless `hard`: then, as with sentinels, what was not replicated is lost.
        """
        raise NotImplementedError(f"nobody can take over in the form {self.kind}")

    def replaced(self, master: Node) -> Node:
        """Wait until another server is master in the place of this one, which was killed or frozen; the new master."""
        others = [node for node in self.shard(master) if node is not master]
        return until(lambda: next((node for node in others if self._leads(node)), None), "nobody took over")

    def _leads(self, node: Node) -> bool:
        return role_of(node) == "master"

    def cut_replication(self, master: Node) -> None:
        """Its replicas get nothing more from it, and a failover loses what is written from now on."""
        master.ask("ACL", "SETUSER", "replica", "off", "resetpass")
        master.ask("CLIENT", "KILL", "TYPE", "replica")

    def heal_replication(self, master: Node) -> None:
        """Its replicas may follow again."""
        master.ask("ACL", "SETUSER", "replica", "on", f">{self._secret}")

    # Their settings ----------------------------------------------------------------------------------------------

    def _config(self, node: Node) -> list[str]:
        lines = ["bind 127.0.0.1", f"dir {node.folder}", "daemonize no"]
        if tls := self.plan.tls:
            lines += ["port 0", f"tls-port {node.port}", f"tls-cert-file {tls}", f"tls-key-file {tls}"]
            lines += [f"tls-ca-cert-file {tls}", "tls-auth-clients no", "tls-replication yes"]
        else:
            lines.append(f"port {node.port}")
        sentinel = node.made_as == "sentinel"
        lines += self._sentinel_config(node) if sentinel else self._data_config(node)
        if self.plan.accounts:
            lines.append(NOBODY)
            for account in (self._admin, *self.plan.accounts):
                rules = account.sentinel if sentinel else account.rules
                if rules:
                    lines.append(f"user {account.name} on >{account.password} {rules}")
        return lines

    def _data_config(self, node: Node) -> list[str]:
        options = {
            **OPTIONS,
            "repl-diskless-sync": "yes",
            "repl-diskless-sync-delay": "0",
            "repl-ping-replica-period": "1",
            "masteruser": "replica",
            "masterauth": self._secret,
            **self.plan.options,
        }
        lines = [f'{name} "{value}"' if not value else f"{name} {value}" for name, value in options.items()]
        return [*lines, f"user replica on >{self._secret} +psync +replconf +ping"]

    def _sentinel_config(self, node: Node) -> list[str]:
        raise NotImplementedError


class OneServer(RedisSite):
    """A single server."""

    kind = "one"
    layout = ("master",)

    def url_of(self, account: Account | None) -> str:
        return self._make_url("", account, self.nodes, "/0")

    def until_whole(self) -> None:
        self.nodes[0].await_answer()


# Looking -------------------------------------------------------------------------------------------------------------


def until(look: Callable[[], Any], failure: str) -> Any:
    """Look until there is something; what was found."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, failure
        time.sleep(0.02)
    return found


def takes(node: Node, *command: Any) -> bool:
    """Whether a command that others must be ready for is taken now."""
    try:
        node.ask(*command)
    except ResponseError:
        return False
    return True


def role_of(node: Node) -> str | None:
    """`master` or `slave`, as it says itself; None when it does not answer."""
    if not node.runs or node.frozen:
        return None
    try:
        return str(node.redis.info("replication")["role"])
    except (RedisError, OSError):
        return None


def follows(replica: Node) -> bool:
    """Whether a replica has its connection to its master."""
    return bool(replica.redis.info("replication")["master_link_status"] == "up")
