"""What is broken when follows from the seed alone, and is fair to all kinds of faults; each target is hit in turns."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from bus.keys import Keys
from tests.faults.chaos import chaos
from tests.faults.ledger import Ledger
from tests.faults.mischief import Mischief
from tests.faults.nemesis import LASTS, Kind, Step, schedule
from tests.faults.world import World
from tests.servers import RedisSite
from tests.system import Role

TARGETS = {
    Kind.KILL: ["gateway 0", "gateway 1", "fanout 0"],
    Kind.PAUSE: ["gateway 0", "fanout 0"],
    Kind.CUT: ["link"],
    Kind.MOVE: [],
    Kind.RESTART: ["redis"],
}


@given(st.integers(), st.floats(1, 100), st.integers(1, 40))
def test_a_schedule(seed: int, seconds: float, count: int) -> None:
    steps = schedule(seed, TARGETS, seconds, count)
    assert steps == schedule(seed, TARGETS, seconds, count)
    assert len(steps) == count
    assert [step.at for step in steps] == sorted(step.at for step in steps)
    for number, step in enumerate(steps):
        assert step.target in TARGETS[step.kind]
        least, most = LASTS[step.kind]
        assert least <= step.lasts <= most
        for later in steps[number + 1 :]:
            assert later.target != step.target or later.at > step.at + step.lasts
    times = Counter(step.kind for step in steps)
    assert max(times.values()) - min(times[kind] for kind in TARGETS if TARGETS[kind]) <= 1


def test_other_seeds_break_other_things() -> None:
    assert len({tuple(schedule(seed, TARGETS, 10, 5)) for seed in range(20)}) == 20


def test_a_step_says_what_it_does() -> None:
    (step,) = schedule(1, {Kind.RESET: ["link"]}, 10, 1)
    assert str(step).endswith("s: reset link")
    (step,) = schedule(1, {Kind.CUT: ["link"]}, 10, 1)
    assert " cut link for " in str(step)


@dataclass
class Sleeper(Role):
    """A role that does nothing, and takes its time to end."""

    may_end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        self._process = subprocess.Popen(["sleep", "60"])

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        ended = super().end(how)
        assert self.may_end.wait(30)
        return ended


async def test_a_target_that_takes_long_is_hit_again_only_afterwards(redis_server: RedisSite, tmp_path: Path) -> None:
    role = Sleeper("gateway", {}, tmp_path / "log")
    role.start()
    loop, ledger = asyncio.get_running_loop(), Ledger()
    try:
        with chaos() as net:
            made = World(redis_server, net, Keys("x", 8), {"gateway 0": role}, {}, {"gateway 0": net.link(1)})
            mischief = Mischief(made, ledger, loop.time, [])
            async with asyncio.timeout(30), asyncio.TaskGroup() as group:
                for kind in (Kind.DRAIN, Kind.PAUSE, Kind.KILL):
                    group.create_task(mischief.perform(Step(0.0, kind, "gateway 0")))
                loop.call_later(0.1, role.may_end.set)  # by then the others have begun
    finally:
        role.may_end.set()
        role.kill()
    assert [fault.kind.split()[2] for fault in ledger.faults] == ["drain", "pause", "kill"]
    for before, after in zip(ledger.faults, ledger.faults[1:], strict=False):
        assert after.at >= before.until
