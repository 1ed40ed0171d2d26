"""A Redis Cluster of a test's own, whose slots can be moved as an operator would move them."""

from __future__ import annotations

from typing import Any

from redis.exceptions import RedisError

from tests.redis_node import Node, start_all
from tests.redis_site import Account, RedisSite, follows, takes, until

SLOTS = 16_384
MIGRATE_TIMEOUT_MS = 5_000


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
            until(lambda r=replica, m=master: takes(r, "CLUSTER", "REPLICATE", self.id_of(m)), "no master known")

    def id_of(self, node: Node) -> str:
        """What the cluster calls a server."""
        found: bytes = node.ask("CLUSTER", "MYID")
        return found.decode()

    def shard(self, node: Node) -> list[Node]:
        place = self.nodes.index(node) % 3
        return [self.nodes[place], self.nodes[place + 3]]

    def until_whole(self) -> None:
        until(self._is_whole, "the cluster does not agree")

    def _is_whole(self) -> bool:
        if len(self.masters()) != 3 or not all(follows(node) for node in self.replicas()):
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
        until(lambda: takes(replica, "CLUSTER", "FAILOVER", *how), "the replica would not take over")
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
