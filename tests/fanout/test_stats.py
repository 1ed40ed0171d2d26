"""What a worker counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from fanout.stats import Stats


def test_everything_counted_is_shown() -> None:
    stats = Stats()
    stats.queues.buried = 3
    stats.backlog.oldest = 2.5
    for seconds in (0.0005, 0.003, 0.004, 99.0):
        stats.latency.observe(seconds)
    registry = CollectorRegistry()
    registry.register(stats)
    text = generate_latest(registry).decode()
    for line in (
        "tocsin_fanout_entries_buried_total 3.0",
        "tocsin_fanout_oldest_unacked_seconds 2.5",
        'tocsin_fanout_publish_seconds_bucket{le="0.001"} 1.0',
        'tocsin_fanout_publish_seconds_bucket{le="0.005"} 3.0',
        'tocsin_fanout_publish_seconds_bucket{le="10.0"} 3.0',
        'tocsin_fanout_publish_seconds_bucket{le="+Inf"} 4.0',
        "tocsin_fanout_publish_seconds_count 4.0",
    ):
        assert line in text.splitlines(), line
