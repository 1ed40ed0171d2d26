"""A Redis of a test's own, in each form that an operator may run: one server, a Sentinel trio, or a cluster.

`start("cluster", folder)` gives real `redis-server` processes on loopback, and ends them whatever happens. What is done
to them (kill, freeze, fail over, move slots, cut replication) is what happens to such servers in production.
"""

from __future__ import annotations

import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

from redis import Redis
from redis.exceptions import RedisError, ResponseError

from tests import redis_clients
from tests.redis_node import Guard, Node, free_ports, start_all
from tests.redis_programs import with_tls
from tocsin.acl import NOBODY
from tocsin.embedded import OPTIONS, find_server

KINDS = ("one", "sentinel", "cluster")
SLOTS = 16_384
PATIENCE = 30.0
"""Every change of a site is over by then, in seconds."""
SERVICE = "tocsin"
"""The name under which the sentinels know the master."""
MIGRATE_TIMEOUT_MS = 5_000


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
    dead_after: float = 1.0
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
            for part, port in zip(self.layout, free_ports(len(self.layout)), strict=True)
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
        return [node for node in self.data_nodes if _role(node) == "master"]

    def replicas(self) -> list[Node]:
        """The data nodes that answer now and say that they are replicas."""
        return [node for node in self.data_nodes if _role(node) == "slave"]

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
        return _until(lambda: next((node for node in others if self._leads(node)), None), "nobody took over")

    def _leads(self, node: Node) -> bool:
        return _role(node) == "master"

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


class SentinelTrio(RedisSite):
    """A master, two replicas, and three sentinels of which two must agree that the master is gone."""

    kind = "sentinel"
    layout = ("master", "replica", "replica", "sentinel", "sentinel", "sentinel")

    @property
    def sentinels(self) -> list[Node]:
        """The processes that watch the others."""
        return [node for node in self.nodes if node.made_as == "sentinel"]

    def url_of(self, account: Account | None) -> str:
        query: dict[str, str] = {"db": "0"}
        if account:
            query |= {"sentinel_username": account.name, "sentinel_password": account.password}
        return self._make_url("+sentinel", account, self.sentinels, f"/{SERVICE}", query)

    def restart(self, node: Node | None = None) -> None:
        super().restart(node)
        self._hurry()

    def start(self) -> None:
        start_all(self.nodes)
        self._hurry()
        self.until_whole()

    def _hurry(self) -> None:
        """Have the sentinels look around every second and not every ten, where they can be told (Redis 7)."""
        for sentinel in self.sentinels:
            if sentinel.runs and not sentinel.frozen:
                _takes(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", 500, "ASK-PERIOD", 200, "PUBLISH-PERIOD", 500)

    def until_whole(self) -> None:
        _until(self._is_whole, "the sentinels do not agree")

    def _is_whole(self) -> bool:
        masters = self.masters()
        if len(masters) != 1 or len(self.replicas()) != 2 or not all(_follows(node) for node in self.replicas()):
            return False
        return all(self._sees_all(sentinel, masters[0]) for sentinel in self.sentinels)

    def _sees_all(self, sentinel: Node, master: Node) -> bool:
        state = sentinel.redis.sentinel_master(SERVICE)
        others = sentinel.redis.sentinel_slaves(SERVICE)
        return (
            state["port"] == master.port
            and state["flags"] == "master"
            and state["num-other-sentinels"] == 2
            and len(others) == 2
            and all(other["flags"] == "slave" and other["master-link-status"] == "ok" for other in others)
        )

    def failover(self, master: Node | None = None, *, hard: bool = False) -> Node:
        before = master or self.masters()[0]
        sentinel = self.sentinels[0]
        _until(lambda: _takes(sentinel, "SENTINEL", "FAILOVER", SERVICE), "the sentinel would not fail over")
        return self.replaced(before)

    def _leads(self, node: Node) -> bool:
        """It is master, and so say all sentinels that run."""
        return super()._leads(node) and all(self._named(s) == node.port for s in self.sentinels if s.runs)

    @staticmethod
    def _named(sentinel: Node) -> int:
        return int(sentinel.redis.sentinel_get_master_addr_by_name(SERVICE)[1])

    def _data_config(self, node: Node) -> list[str]:
        lines = super()._data_config(node)
        return lines if node is self.nodes[0] else [*lines, f"replicaof 127.0.0.1 {self.port}"]

    def _sentinel_config(self, node: Node) -> list[str]:
        def named(name: str, *values: Any) -> str:
            return " ".join(("sentinel", name, SERVICE, *map(str, values)))

        lines = [
            f"sentinel myid {_sentinel_id(node)}",
            named("monitor", "127.0.0.1", self.port, 2),
            named("down-after-milliseconds", int(self.plan.dead_after * 1000)),
            named("failover-timeout", 2_000),
            named("parallel-syncs", 2),
        ]
        if self.plan.accounts:
            lines += [named("auth-user", self._admin.name), named("auth-pass", self._admin.password)]
            lines += [f"sentinel sentinel-user {self._admin.name}", f"sentinel sentinel-pass {self._admin.password}"]
        # What they would find out from each other within some seconds.
        lines += [named("known-replica", "127.0.0.1", other.port) for other in self.nodes[1:3]]
        others = [other for other in self.nodes[3:] if other is not node]
        return lines + [named("known-sentinel", "127.0.0.1", other.port, _sentinel_id(other)) for other in others]


class Cluster(RedisSite):
    """Three masters, each with a replica."""

    kind = "cluster"
    layout = ("master", "master", "master", "replica", "replica", "replica")

    def url_of(self, account: Account | None) -> str:
        return self._make_url("+cluster", account, self.nodes, "")

    def start(self) -> None:
        start_all(self.nodes)
        self._join()
        self.until_whole()
        self.config_set("cluster-node-timeout", int(self.plan.dead_after * 1000))

    def restart(self, node: Node | None = None) -> None:
        super().restart(node)
        self.config_set("cluster-node-timeout", int(self.plan.dead_after * 1000))

    def _join(self) -> None:
        """Share out the slots and introduce everybody to everybody, so that nobody waits for gossip."""
        share = -(-SLOTS // 3)
        for number, node in enumerate(self.nodes):
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)  # taken only from one who knows nobody yet
            if number < 3:
                node.ask("CLUSTER", "ADDSLOTS", *range(SLOTS)[number * share : (number + 1) * share])
        for number, node in enumerate(self.nodes):
            for other in self.nodes[number + 1 :]:
                node.ask("CLUSTER", "MEET", "127.0.0.1", other.port)
        for master, replica in zip(self.nodes[:3], self.nodes[3:], strict=True):
            _until(lambda r=replica, m=master: _takes(r, "CLUSTER", "REPLICATE", self.id_of(m)), "no master known")

    def id_of(self, node: Node) -> str:
        """What the cluster calls a server."""
        found: bytes = node.ask("CLUSTER", "MYID")
        return found.decode()

    def shard(self, node: Node) -> list[Node]:
        place = self.nodes.index(node) % 3
        return [self.nodes[place], self.nodes[place + 3]]

    def until_whole(self) -> None:
        _until(self._is_whole, "the cluster does not agree")

    def _is_whole(self) -> bool:
        if len(self.masters()) != 3 or not all(_follows(node) for node in self.replicas()):
            return False
        views = [self._view(node) for node in self.nodes]
        return all(view == views[0] for view in views) and self._covers(views[0])

    def _view(self, node: Node) -> list[Any]:
        """Slots and who has them, as a server sees it; nothing when it takes no commands for them."""
        try:
            state, rows = node.ask("CLUSTER", "INFO"), node.ask("CLUSTER", "SLOTS")
        except (RedisError, OSError):
            return []
        return _rows(rows) if _is_ok(state) else []

    @staticmethod
    def _covers(view: list[Any]) -> bool:
        return sum(last - first + 1 for first, last, _ in view) == SLOTS and all(len(who) == 2 for _, _, who in view)

    def failover(self, master: Node | None = None, *, hard: bool = False) -> Node:
        before = master or self.masters()[0]
        replica = next(node for node in self.shard(before) if node is not before)
        how = ("TAKEOVER",) if hard else () if before.runs else ("FORCE",)
        _until(lambda: _takes(replica, "CLUSTER", "FAILOVER", *how), "the replica would not take over")
        return self.replaced(before)

    def _leads(self, node: Node) -> bool:
        """It is master and has its slots, as every server that answers sees it."""
        if not super()._leads(node):
            return False
        views = [self._view(one) for one in self.masters()]
        return all(any(who and who[0] == node.port for _, _, who in view) for view in views)

    # Moving slots ------------------------------------------------------------------------------------------------

    def owner(self, slot: int) -> Node:
        """The master of a slot."""
        for node in self.masters():
            for first, last, who in self._view(node):
                if first <= slot <= last:
                    return next(one for one in self.nodes if one.port == who[0])
        raise AssertionError(f"nobody has slot {slot}")

    def slots_of(self, node: Node) -> list[int]:
        """The slots that a master has."""
        view = self._view(node)
        return [slot for first, last, who in view if who[0] == node.port for slot in range(first, last + 1)]

    def begin_move(self, slot: int, target: Node, source: Node | None = None) -> Node:
        """Open a slot for moving: from now on its keys may be at either; the source."""
        source = source or self.owner(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        return source

    def move_keys(self, slot: int, source: Node, target: Node, most: int | None = None) -> int:
        """Move keys of an open slot, all or at most so many; how many."""
        moved = 0
        account = ("AUTH2", self._admin.name, self._admin.password) if self.plan.accounts else ()
        while most is None or moved < most:
            keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100 if most is None else most - moved)
            if not keys:
                break
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, MIGRATE_TIMEOUT_MS, *account, "KEYS", *keys)
            moved += len(keys)
        return moved

    def end_move(self, slot: int, target: Node) -> None:
        """Give the slot to the target; every master is told."""
        name = self.id_of(target)
        for node in (target, *(one for one in self.masters() if one is not target)):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", name)

    def move_slot(self, slot: int, target: Node, source: Node | None = None) -> int:
        """Move one slot with all its keys while the cluster works; how many keys."""
        source = self.begin_move(slot, target, source)
        moved = self.move_keys(slot, source, target)
        self.end_move(slot, target)
        return moved

    def move_slots(self, count: int, source: Node | None = None, target: Node | None = None) -> list[int]:
        """Move so many slots, those with keys first, from one master to another (default: first to last)."""
        masters = self.masters()
        source, target = source or masters[0], target or masters[-1]
        held = self.slots_of(source)
        filled = [slot for slot in held if source.ask("CLUSTER", "COUNTKEYSINSLOT", slot)]
        slots = (filled + [slot for slot in held if slot not in set(filled)])[:count]
        for slot in slots:
            self.move_slot(slot, target, source)
        return slots

    # Settings ----------------------------------------------------------------------------------------------------

    def _data_config(self, node: Node) -> list[str]:
        lines = [
            "cluster-enabled yes",
            "cluster-config-file nodes.conf",
            "cluster-node-timeout 1000",  # how fast they get to know each other follows from it
            "cluster-replica-validity-factor 0",  # a test decides who takes over, however old its data
        ]
        return super()._data_config(node) + lines + (["tls-cluster yes"] if self.plan.tls else [])


SITES: Mapping[str, type[RedisSite]] = {site.kind: site for site in (OneServer, SentinelTrio, Cluster)}


CHOSEN = "chosen"
"""The kind that `--redis` says."""
chosen = "one"


@contextmanager
def start(kind: str, folder: Path, plan: Plan = Plan()) -> Iterator[RedisSite]:
    """A site of that kind (`CHOSEN`: of the one that this run is on), whole when the block begins.

    Its processes are ended after the block.
    """
    site = SITES[chosen if kind == CHOSEN else kind](folder, plan)
    try:
        site.start()
        yield site
    finally:
        site.end()


# Looking -------------------------------------------------------------------------------------------------------------


def _until(look: Callable[[], Any], failure: str) -> Any:
    """Look until there is something; what was found."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, failure
        time.sleep(0.02)
    return found


def _takes(node: Node, *command: Any) -> bool:
    """Whether a command that others must be ready for is taken now."""
    try:
        node.ask(*command)
    except ResponseError:
        return False
    return True


def _role(node: Node) -> str | None:
    """`master` or `slave`, as it says itself; None when it does not answer."""
    if not node.runs or node.frozen:
        return None
    try:
        return str(node.redis.info("replication")["role"])
    except (RedisError, OSError):
        return None


def _follows(replica: Node) -> bool:
    return bool(replica.redis.info("replication")["master_link_status"] == "up")


def _sentinel_id(node: Node) -> str:
    return f"{node.port:040x}"


def _is_ok(info: Any) -> bool:
    """Whether CLUSTER INFO says that all slots are served; redis-py makes a dict of it or not."""
    return bool(info["cluster_state"] == "ok" if isinstance(info, dict) else b"cluster_state:ok" in info)


def _rows(rows: Any) -> list[Any]:
    """CLUSTER SLOTS as (first, last, ports with the master's first), in order."""
    if isinstance(rows, dict):  # as redis-py makes it
        return sorted(
            [first, last, [int(found["primary"][1]), *sorted(int(one[1]) for one in found["replicas"])]]
            for (first, last), found in rows.items()
        )
    return sorted([row[0], row[1], [int(row[2][1]), *sorted(int(one[1]) for one in row[3:])]] for row in rows)
