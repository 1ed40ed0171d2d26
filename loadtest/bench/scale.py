"""Several gateway processes on one port: what a delivery and a connect cost with one, two and four of them.

All of them share one core, so what is compared is CPU time, not speed; and the connections are as many each time, so
what grows is only what each process does for itself: its stream, its heartbeat, its copy of every event. They take
turns, several times, for the same machine is faster in one minute than in the next: each is compared with the one
process that came just before.

Processes that take turns on a core find their caches full of each other's things, which none does that has a core of
its own. What that alone costs is shown by as many systems of one process each beside each other on that core: "apart".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from loadtest.bench.drain import Drain
from loadtest.bench.process import Failed, Process, cpu_seconds, wait_until
from loadtest.bench.rounds import NAP, rounds, warm_up
from loadtest.bench.servers import LOAD_CORE, SERVER_CORE, Server, Tocsin, free_ports
from loadtest.bench.wire import Http
from loadtest.figures import medians

Readings = dict[str, float]

GONE = 20.0
"""Seconds that the connections of a turn may take to be gone."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much of it."""

    processes: tuple[int, ...] = (1, 2, 4)
    connections: int = 6_000
    window: int = 500
    """Connections in the making at any moment."""
    rounds: int = 20
    turns: int = 5


SMALL = Size(processes=(1, 2), connections=400, rounds=5, turns=2)


class Gateways(Tocsin):
    """So many gateway processes on one core."""

    def __init__(self, folder: Path, processes: int) -> None:
        super().__init__(folder)
        self.processes = processes

    def start_gateway(self, env: Mapping[str, str]) -> Process:
        first = free_ports(self.processes)
        self._doors = [Http(first + number) for number in range(self.processes)]
        for door in self._doors:
            self._ending.callback(door.close)
        command = [self.program, "gateway", "--workers", str(self.processes)]
        return self.launch("gateway", command, SERVER_CORE, {**env, "TOCSIN_METRICS_PORT": str(first)})

    def ready(self) -> bool:
        """Whether it would reach those of each."""
        return all(door.get("/readyz")[0] == 200 for door in self._doors)

    def cpu(self) -> float:
        """Of all of them together, and of who watches over them."""
        return sum(cpu_seconds(pid) for pid in (self.pid, *children(self.pid)))

    def connections(self) -> list[int]:
        """How many each has."""
        return [_connections(door.get("/metrics")[1]) for door in self._doors]


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _connections(text: str) -> int:
    for line in text.splitlines():
        if line.startswith("tocsin_gateway_connections "):
            return int(float(line.split()[-1]))
    raise Failed("a gateway process does not tell its connections")


def scale(client: Sequence[str], server: Server, size: Size) -> Readings:
    """CPU per connect and per delivery, and their ratio to those of one process: medians of all turns."""
    with ExitStack() as stack:

        def started(name: str, processes: int) -> Gateways:
            return stack.enter_context(Gateways(server.folder / f"gateways-{name}", processes))

        together = [started(str(count), count) for count in size.processes if count > 1]
        apart = [started(f"apart-{number}", 1) for number in range(max(size.processes))]
        turns = [_turn(client, together, apart, size) for _ in range(size.turns)]
    return medians(turns)


def _turn(client: Sequence[str], together: Sequence[Gateways], apart: Sequence[Gateways], size: Size) -> Readings:
    readings = _cost(client, apart[0], size)
    for gateways in together:
        readings |= _cost(client, gateways, size)
        count = gateways.processes
        for what in ("delivery", "connect"):
            ratio = readings[f"scale_{what}_{count}_us"] / readings[f"scale_{what}_1_us"]
            readings[f"scale_{what}_{count}_ratio"] = ratio
        readings[f"scale_apart_{count}_us"] = _apart(client, apart[:count], size)
        ratio = readings[f"scale_connect_{count}_us"] / readings[f"scale_apart_{count}_us"]
        readings[f"scale_apart_{count}_ratio"] = ratio
    return readings


def _apart(client: Sequence[str], systems: Sequence[Gateways], size: Size) -> float:
    """CPU per connect, in µs, where as many connect at once to systems that have nothing in common but the core."""
    each, window = size.connections // len(systems), max(1, size.window // len(systems))
    for system in systems:
        system.renew()
    plans = [replace(system.plan(each, topic=True, window=window), nap=NAP) for system in systems]
    cpu = sum(system.cpu() for system in systems)
    with ExitStack() as stack:
        for drain in [stack.enter_context(Drain(client, plan, LOAD_CORE)) for plan in plans]:
            drain.wait_ready()
        spent = sum(system.cpu() for system in systems) - cpu
    _until_gone(systems)
    return spent / (each * len(systems)) * 1e6


def _until_gone(systems: Sequence[Gateways]) -> None:
    wait_until(lambda: not any(map(sum, (system.connections() for system in systems))), GONE, "not all have gone")


def _cost(client: Sequence[str], server: Gateways, size: Size) -> Readings:
    server.renew()
    plan = replace(server.plan(size.connections, topic=True, window=size.window), nap=NAP)
    cpu = server.cpu()
    with Drain(client, plan, LOAD_CORE) as drain:
        drain.wait_ready()
        connect = (server.cpu() - cpu) / size.connections
        shares = server.connections()
        if sum(shares) != size.connections or min(shares) == 0:
            raise Failed(f"{size.connections} connections were shared out as {shares}")
        warm_up(server, drain, size.connections)
        spent = rounds(server, drain, size.connections, 1, size.rounds)
    _until_gone([server])
    return {
        f"scale_connect_{server.processes}_us": connect * 1e6,
        f"scale_delivery_{server.processes}_us": spent.cpu / spent.messages * 1e6,
    }
