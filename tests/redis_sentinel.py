"""A Sentinel trio of a test's own."""

from __future__ import annotations

from typing import Any

from tests.redis_node import Node, start_all
from tests.redis_site import Account, RedisSite, follows, takes, until

SERVICE = "tocsin"
"""The name under which the sentinels know the master."""


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
                takes(sentinel, "SENTINEL", "DEBUG", "INFO-PERIOD", 500, "ASK-PERIOD", 200, "PUBLISH-PERIOD", 500)

    def until_whole(self) -> None:
        until(self._is_whole, "the sentinels do not agree")

    def _is_whole(self) -> bool:
        masters = self.masters()
        if len(masters) != 1 or len(self.replicas()) != 2 or not all(follows(node) for node in self.replicas()):
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
        until(lambda: takes(sentinel, "SENTINEL", "FAILOVER", SERVICE), "the sentinel would not fail over")
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


def _sentinel_id(node: Node) -> str:
    return f"{node.port:040x}"
