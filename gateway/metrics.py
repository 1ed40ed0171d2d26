"""What /metrics shows, in the text format of Prometheus, read from plain counters when somebody asks and never before.

Every number of a counters' dataclass becomes a metric named after its field; a `collections.Counter` becomes one with
a label. What a counter means is said here, once, beside its name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Final

from prometheus_client import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

GAUGES: Final = frozenset(
    (
        "connections",
        "authenticated",
        "stalled",
        "topics",
        "loop_blocked_seconds_max",
        "full",
        "crowded_partitions",
        "health",
        "proof_seconds",
        "stream_lag",
    )
)
"""Fields that may fall; all others only rise."""
LABELS: Final = {
    "closed": "code",
    "requests": "status",
    "refused": "problem",
    "accepted": "producer",
    "failed": "error",
}
"""Label under which each `Counter` field counts."""


@dataclass(slots=True)
class ApiStats:
    """Counters of the HTTP API; they only rise."""

    requests: Counter[int] = field(default_factory=Counter)
    """Answers by status."""
    refused: Counter[str] = field(default_factory=Counter)
    """Requests and events refused, by kind of problem."""


class StatsCollector:
    """Reads counters; `groups` are (prefix of the metric names, a dataclass of counters)."""

    def __init__(self, *groups: tuple[str, Any]) -> None:
        self._groups = groups

    def collect(self) -> Iterator[Metric]:
        """The metrics as they are now."""
        for prefix, stats in self._groups:
            for each in fields(stats):
                yield _metric(f"{prefix}_{each.name}", each.name, getattr(stats, each.name))


def render(collector: StatsCollector) -> bytes:
    """All metrics as text (Prometheus exposition format 0.0.4)."""
    return generate_latest(collector)


def _metric(name: str, field_name: str, value: object) -> Metric:
    help_text = field_name.replace("_", " ")
    if isinstance(value, Counter):
        label = LABELS.get(field_name, "kind")
        family = CounterMetricFamily(name, f"{help_text} by {label}", labels=[label])
        for key, count in sorted(value.items(), key=lambda item: str(item[0])):
            family.add_metric([str(key)], count)
        return family
    if not isinstance(value, int | float):
        raise TypeError(f"{name} is not a number and not a Counter")
    if field_name in GAUGES:
        return GaugeMetricFamily(name, help_text, value)
    return CounterMetricFamily(name, help_text, value)
