"""Generations on a real cluster: slots that are moved keep theirs, and a replica that takes over begins one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from bus.clock import SystemClock
from bus.generation import FIRST, Generations
from bus.keys import Keys
from bus.pipe import Pipe
from bus.pipe.routing import slot_of
from tests.servers import Cluster, Plan, start


@pytest.mark.slow
async def test_moved_slots_keep_their_generation_and_a_failover_begins_one(tmp_path: Path) -> None:
    keys = Keys("tocsin", 8)
    with start("cluster", tmp_path, Plan()) as site:
        assert isinstance(site, Cluster)
        generations = Generations(keys)
        pipe = Pipe(site.url, name="test", clock=SystemClock(), arrival=generations)
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            running = group.create_task(pipe.run())
            await pipe.wait_up(30)

            async def until(true: Callable[[], bool]) -> None:
                while not true():
                    await generations.look(pipe)
                    await asyncio.sleep(0.05)

            await until(lambda: len(generations.known) == keys.partitions)
            slot = slot_of(keys.generation(0).encode())
            source = await asyncio.to_thread(site.owner, slot)
            target = next(node for node in site.masters() if node is not source)
            before = generations.known[0].server
            await asyncio.to_thread(site.move_slot, slot, target)
            await until(lambda: generations.known[0].server != before)
            assert {each.name for each in generations.known.values()} == {FIRST}
            there = {p for p in range(keys.partitions) if site.owner(slot_of(keys.generation(p).encode())) is target}
            await asyncio.to_thread(target.kill)
            await asyncio.to_thread(site.replaced, target)
            await until(lambda: all(generations.known[p].name.startswith("2g") for p in there))
            assert {generations.known[p].name for p in range(keys.partitions) if p not in there} == {FIRST}
            running.cancel()
