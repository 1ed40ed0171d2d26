"""The short set: a few seeds, each some seconds of faults in a running system, and all invariants at the end.

`make soak` runs longer ones. A failure names its seed, and this plays it again, on `one`, `sentinel` or `cluster`:
`python -m tests.faults.soak --site one --seed N --runs 1 --length 8 --faults 6`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.faults.checker import Limits, check
from tests.faults.ledger import REPLICATED, STORED
from tests.faults.scene import Size, play
from tests.faults.world import World, world
from tests.servers import KINDS

SEEDS = (1, 2)
LIMITS = Limits(script=2.0, reach=15.0)
"""How long a script seems to hold Redis depends here on what else the machine does, for that is time on the wall: a
server that has to wait for its turn amid one seems to take that long. `test_scripts_are_short` measures them."""

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.sites]


@pytest.fixture(scope="module", params=KINDS)
def broken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), request.param) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_invariants_hold_whatever_breaks(broken: World, seed: int) -> None:
    mode = STORED if broken.site.kind == "one" else REPLICATED
    async with asyncio.timeout(200):
        scene = await play(broken, seed, Size(seconds=8.0, faults=6), mode=mode)
    assert [str(violation) for violation in check(scene.ledger, LIMITS)] == [], scene.steps
    assert scene.unhelpful == []
    assert len(scene.ledger.accepted) > 20
    assert broken.faults() == []
