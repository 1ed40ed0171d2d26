"""What the figures must be, and the table and file that say whether they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from loadtest.figures import median


@dataclass(frozen=True, slots=True)
class Target:
    """A bound on our reading or on its ratio to nchan's. With `worst`, on the worst run instead of the median."""

    at_most: float | None = None
    at_least: float | None = None
    ratio_at_most: float | None = None
    worst: bool = False

    def __str__(self) -> str:
        if self.ratio_at_most is not None:
            return f"≤ {self.ratio_at_most:g} × nchan"
        return f"≤ {_number(self.at_most)}" if self.at_most is not None else f"≥ {_number(self.at_least or 0)}"

    def held(self, ours: float, ratio: float | None) -> bool | None:
        """None when there is nothing to compare with."""
        if self.ratio_at_most is not None:
            return None if ratio is None else ratio <= self.ratio_at_most
        if self.at_most is not None:
            return ours <= self.at_most
        return self.at_least is None or ours >= self.at_least


@dataclass(frozen=True, slots=True)
class Figure:
    """A reading's name, what it means, its unit, and its target if it has one."""

    name: str
    label: str
    unit: str
    target: Target | None = None


def figures(connections: Iterable[int]) -> list[Figure]:
    """All figures in the table's order; broadcast for each number of connections."""
    bursts = {2_000: 2_000_000, 10_000: 1_500_000}
    found: list[Figure] = []
    for count in connections:
        at = f"{count:,} connections"
        rate = Target(at_least=bursts[count]) if count in bursts else None
        found += [
            Figure(f"broadcast_{count}_us", f"broadcast, {at}: CPU per delivery", "µs", Target(ratio_at_most=0.8)),
            Figure(f"broadcast_{count}_wall", f"broadcast, {at}: deliveries by wall clock", "1/s"),
            Figure(f"burst_{count}_rate", f"burst of ten, {at}: messages per CPU second", "1/s", rate),
            Figure(f"burst_{count}_wall", f"burst of ten, {at}: messages by wall clock", "1/s"),
            Figure(f"frame_{count}_bytes", f"broadcast, {at}: bytes on the wire per message", "B"),
            Figure(f"blocked_{count}_ms", f"{at}: loop blocked at most", "ms", Target(at_most=15, worst=True)),
        ]
    return [
        *found,
        *_alone(),
        *_together(),
    ]


def _alone() -> list[Figure]:
    """Of one process of each role."""
    return [
        Figure("memory_rss", "resident memory per connection", "B", Target(at_most=3_072)),
        Figure("memory_pss", "proportional memory per connection", "B"),
        Figure("storm_cpu", "connects per CPU second", "1/s", Target(at_least=4_000)),
        Figure("storm_wall", "connects by wall clock", "1/s"),
        Figure("post_50_ms", "POST to client, median", "ms", Target(at_most=4)),
        Figure("post_99_ms", "POST to client, 99th percentile", "ms", Target(at_most=15)),
        Figure("xadd_50_ms", "XADD to client, median", "ms", Target(at_most=4)),
        Figure("xadd_99_ms", "XADD to client, 99th percentile", "ms", Target(at_most=15)),
        Figure("fanout_wall", "fan-out: people given an event, route and timer", "1/s", Target(at_least=20_000)),
        Figure("fanout_cpu", "fan-out: the same per CPU second of the worker", "1/s"),
        Figure("fanout_redis_us", "fan-out: Redis's CPU per person", "µs"),
        Figure("fanout_script_ms", "fan-out: longest command in Redis", "ms", Target(at_most=10, worst=True)),
        Figure("steps_wall", "ladder steps taken", "1/s"),
        Figure("steps_redis_us", "ladder steps: Redis's CPU for each", "µs"),
        Figure("steps_behind_wall", "ladder steps taken, 1,000,000 timers waiting", "1/s"),
        Figure("steps_behind_redis_us", "the same: Redis's CPU for each", "µs"),
        Figure("steps_ratio", "the same: against none waiting", "×", Target(at_most=1.5)),
        Figure("deliver_push_wall", "web pushes sent", "1/s", Target(at_least=2_000)),
        Figure("deliver_push_cpu", "web pushes sent per CPU second of the worker", "1/s"),
        Figure("deliver_push_redis_us", "web pushes: Redis's CPU for each", "µs"),
        Figure("deliver_mail_wall", "mails sent", "1/s", Target(at_least=400)),
        Figure("deliver_mail_cpu", "mails sent per CPU second of the worker", "1/s"),
        Figure("deliver_mail_redis_us", "mails: Redis's CPU for each", "µs"),
    ]


FLAT: Final = Target(at_most=1.1)
"""What grows must not make an operation dearer."""
PROCESSES: Final = (1, 2, 4)
PEOPLE: Final = (1_000, 10_000, 100_000)
PARTITIONS: Final = (16, 64, 256)
NODES: Final = (1, 10, 100)


def _together() -> list[Figure]:
    """Of many processes, and of what dies or does not keep up."""
    found = []
    for count in PROCESSES:
        at = f"{count} gateway process{'es' * (count > 1)}"
        found += [
            Figure(f"scale_delivery_{count}_us", f"{at}: CPU per delivery", "µs"),
            Figure(f"scale_connect_{count}_us", f"{at}: CPU per connect", "µs"),
        ]
        if count > 1:
            found += [
                Figure(f"scale_delivery_{count}_ratio", f"{at}: a delivery against one process's", "×", FLAT),
                Figure(f"scale_connect_{count}_ratio", f"{at}: a connect against one process's", "×", FLAT),
                Figure(f"scale_apart_{count}_us", f"{count} systems on that core: CPU per connect", "µs"),
                Figure(f"scale_apart_{count}_ratio", f"{at}: a connect against theirs", "×", FLAT),
            ]
    for count in PROCESSES:
        found += _event(f"workers_{count}", f"{count} fan-out worker{'s' * (count > 1)}")
    found += _flat("workers", "four workers against one")
    for count in (1, 3):
        found += _event(f"masters_{count}", f"{count} Redis master{'s' * (count > 1)}")
    found += _flat("masters", "a cluster of three masters against one server")
    for people in PEOPLE:
        found += _event(f"people_{people}", f"{people:,} people")
    found += _flat("people", "a hundred times the people")
    for partitions in PARTITIONS:
        found += _event(f"partitions_{partitions}", f"{partitions} partitions")
    found += _flat("partitions", "sixteen times the partitions")
    for nodes in NODES:
        found += _event(f"nodes_{nodes}", f"{nodes} gateway node{'s' * (nodes > 1)}")
    found += _flat("nodes", "a hundred times the gateway nodes")
    return [
        *found,
        Figure("takeover_kill_s", "worker killed: until its partitions move again", "s", Target(at_most=5, worst=True)),
        Figure(
            "takeover_join_s", "worker joins: until leases are where they belong", "s", Target(at_most=5, worst=True)
        ),
        Figure("takeover_stop_s", "worker told to stop: the same", "s", Target(at_most=5, worst=True)),
        Figure("stalled_without_99_ms", "broadcast of 8 kB, all read: 99th percentile", "ms"),
        Figure("stalled_99_ms", "the same, a tenth of the clients stalled", "ms"),
        Figure("stalled_ratio", "the same: against all reading", "×", Target(at_most=1.5)),
        Figure(
            "herd_seconds", "reconnect herd: until the last is back with all that it missed", "s", Target(at_most=30)
        ),
        Figure("herd_commands", "reconnect herd: Redis commands per client, in scripts too", "", Target(at_most=20)),
        Figure("herd_away", "reconnect herd: times that a client was told to come again", ""),
        Figure("herd_p99", "reconnect herd: 99th percentile of the wait of one who stayed", "ms"),
        Figure("herd_blocked", "reconnect herd: loop blocked at most", "ms"),
        Figure("stalled_memory_ratio", "the same: memory against the outboxes' limits", "×", Target(at_most=1)),
    ]


def _event(name: str, at: str) -> list[Figure]:
    return [
        Figure(f"{name}_us", f"{at}: workers' CPU per event", "µs"),
        Figure(f"{name}_redis_us", f"{at}: Redis's CPU per event", "µs"),
        Figure(f"{name}_commands", f"{at}: Redis commands per event, in scripts too", ""),
        Figure(f"{name}_wall", f"{at}: events", "1/s"),
    ]


def _flat(name: str, against: str) -> list[Figure]:
    return [
        Figure(f"{name}_us_ratio", f"{against}: workers' CPU per event", "×", FLAT),
        Figure(f"{name}_commands_ratio", f"{against}: Redis commands per event", "×", FLAT),
    ]


Series = Mapping[str, Sequence[float]]
"""Readings of all runs by name."""


def results(
    ours: Series, theirs: Series, wanted: Iterable[Figure], floor: Series = MappingProxyType({})
) -> list[dict[str, Any]]:
    """One row per figure that was read, ready for JSON. `floor`: what this machine asks for the least that could do."""
    return [
        _row(figure, ours[figure.name], theirs.get(figure.name, ()), floor.get(figure.name, ()))
        for figure in wanted
        if figure.name in ours
    ]


def _row(figure: Figure, ours: Sequence[float], theirs: Sequence[float], floor: Sequence[float]) -> dict[str, Any]:
    target = figure.target
    middle = max(ours) if target is not None and target.worst else median(ours)
    beside = median(theirs) if theirs else None
    ratio = middle / beside if beside else None
    return {
        "name": figure.name,
        "measure": figure.label,
        "unit": figure.unit,
        "ours": middle,
        "nchan": beside,
        "ratio": ratio,
        "floor": median(floor) if floor else None,
        "target": str(target) if target else None,
        "held": target.held(middle, ratio) if target else None,
        "runs": {"ours": list(ours), "nchan": list(theirs), "floor": list(floor)},
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows for people."""
    head = ["measure", "ours", "nchan", "ratio", "floor", "target", "held"]
    body = [
        [
            f"{row['measure']} ({row['unit']})" if row["unit"] else row["measure"],
            _number(row["ours"]),
            _number(row["nchan"]),
            "–" if row["ratio"] is None else f"{row['ratio']:.2f}",
            _number(row["floor"]),
            row["target"] or "",
            {True: "yes", False: "NO", None: ""}[row["held"]],
        ]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    lines = [_line(head, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(line, widths) for line in body)])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if column in (0, 5, 6) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *rest]).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")
