"""The short set: a handful of seeds, each a few seconds of faults in a running system, and all invariants at the end.

`make soak` runs longer ones. A failure names its seed: `python -m tests.faults.soak --seed N --runs 1` repeats it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults.checker import Limits, check
from tests.faults.scene import Size, play
from tests.faults.world import World, world

SEEDS = (1, 2, 3)
LIMITS = Limits(script=0.25, reach=15.0)
"""How long a script seems to hold Redis depends here on what else the machine does; other tests measure that."""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def broken_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world")) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_invariants_hold_whatever_breaks(broken_world: World, seed: int) -> None:
    async with asyncio.timeout(120):
        scene = await play(broken_world, seed, Size(seconds=9.0, faults=7))
    assert [str(violation) for violation in check(scene.ledger, LIMITS)] == [], scene.steps
    assert scene.unhelpful == []
    assert len(scene.ledger.accepted) > 50
    assert broken_world.faults() == []
