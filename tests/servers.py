"""A Redis of a test's own, in each form that an operator may run: one server, a Sentinel trio, or a cluster.

`start("cluster", folder)` gives real `redis-server` processes on loopback, and ends them whatever happens. What is done
to them (kill, freeze, fail over, move slots, cut replication) is what happens to such servers in production.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.redis_cluster import Cluster
from tests.redis_sentinel import SentinelTrio
from tests.redis_site import Account, OneServer, Plan, RedisSite

__all__ = ["CHOSEN", "KINDS", "SITES", "Account", "Cluster", "OneServer", "Plan", "RedisSite", "SentinelTrio", "start"]

KINDS = ("one", "sentinel", "cluster")
SITES: Mapping[str, type[RedisSite]] = {site.kind: site for site in (OneServer, SentinelTrio, Cluster)}
PLAIN = Plan()
CHOSEN = "chosen"
"""The kind that `--redis` says."""
chosen = "one"


@contextmanager
def start(kind: str, folder: Path, plan: Plan = PLAIN) -> Iterator[RedisSite]:
    """A site of that kind (`CHOSEN`: of the one that this run is on), whole when the block begins.

    Its processes are ended after the block.
    """
    site = SITES[chosen if kind == CHOSEN else kind](folder, plan)
    try:
        site.start()
        yield site
    finally:
        site.end()
