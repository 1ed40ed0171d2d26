"""The bench of the fan-out worker knows keys from the documents alone; here they are held against the code."""

from __future__ import annotations

from bus.keys import Keys
from bus.partition import balanced_tags, partition_of
from loadtest.bench import fanout
from loadtest.bench.report import figures


def test_it_finds_people_where_the_system_looks_for_them() -> None:
    assert tuple(fanout.partition_tags()) == balanced_tags(fanout.PARTITIONS)
    keys = Keys("tocsin", fanout.PARTITIONS)
    for user in ("u1", "u77", "u1999"):
        assert fanout.partition_of(user) == partition_of(user, fanout.PARTITIONS) == keys.partition(f"@{user}")
        tag = fanout.partition_tags()[fanout.partition_of(user)]
        assert keys.profile(user) == f"tocsin:{{{tag}}}:user:{user}:profile"
        assert keys.routes(f"@{user}") == f"tocsin:{{{tag}}}:user:{user}:routes"
        assert keys.meta(f"@{user}") == f"tocsin:{{{tag}}}:user:{user}:meta"
    assert keys.worker_bell("host-1-ab") == "tocsin:{worker-host-1-ab}:bell"
    assert keys.node_alive(fanout.NODE) == f"tocsin:{{node-{fanout.NODE}}}:alive"


def test_each_reading_has_its_figure() -> None:
    names = {figure.name for figure in figures([])}
    assert {"fanout_wall", "fanout_cpu", "fanout_redis_us", "fanout_script_ms", "steps_wall", "steps_ratio"} <= names
