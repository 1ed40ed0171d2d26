"""What a worker counts, and how Prometheus sees it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bus.consumer import QueueStats

BUCKETS: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds."""


@dataclass(slots=True)
class Latency:
    """A histogram of seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        labels = (*(str(bound) for bound in BUCKETS), "+Inf")
        running = 0
        out = []
        for label, count in zip(labels, self.counts, strict=True):
            running += count
            out.append((label, float(running)))
        return out


@dataclass(slots=True)
class Backlog:
    """What waits in the partitions of this worker, read when somebody asks."""

    waiting: int = 0
    """Entries not acknowledged yet."""
    oldest: float = 0.0
    """Age of the oldest of them, in seconds."""
    partitions: dict[int, tuple[int, float]] = field(default_factory=dict)
    """The same of each partition in which something waits."""

    def collect(self) -> Iterator[Metric]:
        """By partition."""
        waiting = GaugeMetricFamily(
            "tocsin_fanout_partition_lag_entries", "Entries not acknowledged yet", labels=("partition",)
        )
        oldest = GaugeMetricFamily(
            "tocsin_fanout_partition_oldest_unacked_seconds", "Age of the oldest of them", labels=("partition",)
        )
        for partition, (count, age) in sorted(self.partitions.items()):
            waiting.add_metric((str(partition),), count)
            oldest.add_metric((str(partition),), age)
        yield waiting
        yield oldest


@dataclass(slots=True, eq=False)
class Stats:
    """One per worker; a collector of its own figures."""

    queues: QueueStats = field(default_factory=QueueStats)
    latency: Latency = field(default_factory=Latency)
    published: int = 0
    """Events given to their whole audience."""
    recipients: int = 0
    followers: int = 0
    """Durable followers of topics that events were given to, in bulk."""
    withdrawn: int = 0
    """Walks that took an event back from all of a partition."""
    expired: int = 0
    scheduled: int = 0
    relayed: int = 0
    """Entries given to gateway nodes."""
    not_relayed: int = 0
    replayed: int = 0
    """Events given again to partitions that may have lost them in a failover."""
    steps: int = 0
    """Steps of ladders that were taken, passed over or put off."""
    digests: int = 0
    timers_buried: int = 0
    leases: int = 0
    """Partitions held now."""
    leases_taken: int = 0
    leases_lost: int = 0
    backlog: Backlog = field(default_factory=Backlog)

    def collect(self) -> Iterator[Metric]:
        """For a Prometheus registry."""
        queues = self.queues
        for name, text, value in (
            ("entries_taken", "Entries taken from ingest streams, repeats included", queues.taken),
            ("entries_acked", "Entries finished", queues.acked),
            ("entries_buried", "Entries moved to the dead letters", queues.buried),
            ("entries_retried", "Attempts that will be repeated", queues.retried),
            ("entries_trimmed", "Pending entries that somebody had trimmed", queues.trimmed),
            ("bus_failures", "Failed commands to Redis that were waited out", queues.bus_failures),
            ("events_published", "Events given to their whole audience", self.published),
            ("recipients", "Topics and inboxes that events were given to", self.recipients),
            ("followers", "Durable followers of topics that events were given to", self.followers),
            ("withdrawals", "Partitions of which an event was taken back", self.withdrawn),
            ("events_expired", "Events whose time was over before they were published", self.expired),
            ("events_scheduled", "Events put off until their time", self.scheduled),
            ("relayed", "Entries given to gateway nodes", self.relayed),
            ("not_relayed", "Entries that a node's stream in Redis refused", self.not_relayed),
            ("replayed", "Events given again to partitions that may have lost them in a failover", self.replayed),
            ("steps", "Steps of ladders that were taken, passed over or put off", self.steps),
            ("digests", "Digests that were sent or put off", self.digests),
            ("timers_buried", "Timers that could not be worked, moved to the dead letters", self.timers_buried),
            ("leases_taken", "Partitions that came to this worker", self.leases_taken),
            ("leases_lost", "Leases that ended before they were given back", self.leases_lost),
        ):
            yield CounterMetricFamily(f"tocsin_fanout_{name}", text, value=value)
        for name, text, gauge in (
            ("leases", "Partitions held", self.leases),
            ("lag_entries", "Entries of the held partitions not acknowledged yet", self.backlog.waiting),
            ("oldest_unacked_seconds", "Age of the oldest of them", self.backlog.oldest),
        ):
            yield GaugeMetricFamily(f"tocsin_fanout_{name}", text, value=gauge)
        yield from self.backlog.collect()
        yield HistogramMetricFamily(
            "tocsin_fanout_publish_seconds",
            "From acceptance to the nodes' streams",
            buckets=self.latency.buckets(),
            sum_value=self.latency.total,
        )
