"""What a delivery worker counts of one channel, and how Prometheus sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from bus.consumer import QueueStats
from fanout.stats import Backlog, Latency

COUNTERS: Final = (
    ("jobs_taken", "Jobs taken, repeats included", "taken"),
    ("jobs_finished", "Jobs finished", "acked"),
    ("jobs_buried", "Jobs moved to the dead letters", "buried"),
    ("jobs_deferred", "Jobs that wait for another time", "retried"),
    ("bus_failures", "Failed commands to Redis that were waited out", "bus_failures"),
)


@dataclass(slots=True, eq=False)
class ChannelStats:
    """One per channel and worker."""

    channel: str
    queues: QueueStats = field(default_factory=QueueStats)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By provider ("" where none was asked) and kind of outcome."""
    seconds: Latency = field(default_factory=Latency)
    """How long providers took."""
    under_way: int = 0
    leases: int = 0
    """Partitions held now."""
    leases_taken: int = 0
    leases_lost: int = 0
    open_breakers: int = 0
    resting: int = 0
    """Providers that rest because our own settings for them are wrong."""
    backlog: Backlog = field(default_factory=Backlog)
    later: int = 0
    """Jobs that wait for another attempt, in the partitions held."""


GAUGES: Final[Sequence[tuple[str, str, Callable[[ChannelStats], float]]]] = (
    ("under_way", "Deliveries under way", lambda s: s.under_way),
    ("leases", "Partitions held", lambda s: s.leases),
    ("open_breakers", "Circuit breakers that are not closed", lambda s: s.open_breakers),
    ("resting_providers", "Providers that rest because our settings for them are wrong", lambda s: s.resting),
    ("jobs_waiting", "Jobs of the held partitions that are not finished", lambda s: s.backlog.waiting),
    ("jobs_later", "Jobs of the held partitions that wait for another attempt", lambda s: s.later),
    ("oldest_job_seconds", "Age of the oldest job that does not wait", lambda s: s.backlog.oldest),
)


@dataclass(slots=True, eq=False)
class DeliverStats:
    """A collector of the figures of all channels of a worker."""

    channels: Sequence[ChannelStats]

    def collect(self) -> Iterator[Metric]:
        """For a Prometheus registry."""
        yield from self._queues()
        outcomes = CounterMetricFamily(
            "tocsin_deliver_outcomes", "What came of deliveries", labels=("channel", "provider", "outcome")
        )
        for stats in self.channels:
            for (provider, kind), count in stats.outcomes.items():
                outcomes.add_metric((stats.channel, provider, kind), count)
        yield outcomes
        yield from self._gauges()
        seconds = HistogramMetricFamily(
            "tocsin_deliver_provider_seconds", "How long providers took", labels=("channel",)
        )
        for stats in self.channels:
            seconds.add_metric((stats.channel,), stats.seconds.buckets(), stats.seconds.total)
        yield seconds

    def _queues(self) -> Iterator[Metric]:
        for name, text, attribute in COUNTERS:
            family = CounterMetricFamily(f"tocsin_deliver_{name}", text, labels=("channel",))
            for stats in self.channels:
                family.add_metric((stats.channel,), getattr(stats.queues, attribute))
            yield family
        taken = CounterMetricFamily(
            "tocsin_deliver_leases_taken", "Partitions that came to this worker", labels=("channel",)
        )
        lost = CounterMetricFamily(
            "tocsin_deliver_leases_lost", "Leases that ended before they were given back", labels=("channel",)
        )
        for stats in self.channels:
            taken.add_metric((stats.channel,), stats.leases_taken)
            lost.add_metric((stats.channel,), stats.leases_lost)
        yield from (taken, lost)

    def _gauges(self) -> Iterator[Metric]:
        for name, text, value in GAUGES:
            gauge = GaugeMetricFamily(f"tocsin_deliver_{name}", text, labels=("channel",))
            for stats in self.channels:
                gauge.add_metric((stats.channel,), value(stats))
            yield gauge
