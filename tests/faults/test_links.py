"""A way to Redis is broken for one role alone, where there is more than one server: the others, and the other masters,
go on, and what the role missed it makes good when the way is back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from bus.keys import Keys
from tests.faults.scene import Stage
from tests.faults.test_matrix import noted, row
from tests.faults.world import World, world
from tests.redis_node import Node
from tests.servers import Cluster
from tests.system import KEY

HEADERS = {"x-api-key": KEY, "content-type": "application/json"}
PARTED = 4.0
"""Seconds: longer than worker and lease live."""

pytestmark = [pytest.mark.slow, pytest.mark.sites]


def partitions_of(made: World, node: Node) -> set[int]:
    """Those whose keys a master of the cluster has."""
    assert isinstance(made.site, Cluster)
    held, keys = set(made.site.slots_of(node)), made.keys
    return {p for p in range(keys.partitions) if node.ask("CLUSTER", "KEYSLOT", keys.events(p)) in held}


def user_in(keys: Keys, partitions: set[int]) -> str:
    """Somebody who lives in one of them."""
    return next(user for user in (f"user{n}" for n in range(1_000)) if keys.partition(user) in partitions)


async def test_a_gateway_is_parted_from_one_master_of_a_cluster(tmp_path: Path) -> None:
    """It takes events for the others, refuses those for this one in words, and keeps its connections."""
    with world(tmp_path, "cluster", fanouts=1, delivers=1) as made:
        here = made.site.masters()[0]
        held = partitions_of(made, here)
        lost, well = user_in(made.keys, held), user_in(made.keys, set(range(made.keys.partitions)) - held)

        async def post(stage: Stage, user: str) -> httpx.Response:
            event: dict[str, Any] = {"type": "x", "to": {"users": [user]}, "ladder": [{"via": "live"}]}
            return await stage.http.post(f"{made.origins[0]}/v1/events", json=event, headers=HEADERS)

        async def until(stage: Stage, user: str, *, taken: bool) -> httpx.Response:
            """The first answer of the kind: a server that works may stand still for a while too."""
            async with asyncio.timeout(30):
                while ((answer := await post(stage, user)).status_code == 202) != taken:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)
            return answer

        async def part(stage: Stage) -> None:
            began = stage.now()
            closes = [device.closes[:] for device in stage.devices]
            made.wires["gateway 0"].to(here).hold()
            refused = await until(stage, lost, taken=False)
            assert refused.status_code == 503
            assert "retry-after" in refused.headers
            await until(stage, well, taken=True)
            assert [device.closes for device in stage.devices] == closes
            made.wires["gateway 0"].to(here).heal()
            noted(stage, "parted from a master", began)
            await until(stage, lost, taken=True)

        await row(made, 111, part)


@pytest.mark.parametrize(("form", "role"), [("sentinel", "fanout 0"), ("cluster", "deliver 0")])
async def test_a_worker_is_parted_from_the_masters(tmp_path: Path, form: str, role: str) -> None:
    """Another takes its partitions over, and what the first one held when the way is back does no harm."""
    with world(tmp_path, form, gateways=1) as made:

        async def part(stage: Stage) -> None:
            began = stage.now()
            for master in made.site.masters():
                made.wires[role].to(master).hold()
            await asyncio.sleep(PARTED)
            made.wires[role].heal()
            noted(stage, "parted from the masters", began)
            await asyncio.sleep(1.0)

        await row(made, 112, part)
