"""The publisher on a cluster of which one master hangs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.outcome import Done
from bus.pipe import Pipe
from bus.pipe.routing import slot_of
from fanout.publisher import AT_ONCE
from tests.fanout.test_publisher import events, publisher
from tests.redis_site import Plan
from tests.servers import Cluster, start

PATIENCE = 20.0
"""Seconds that a command may take, and that a master may be silent before a replica takes its place."""


@pytest.mark.slow
async def test_batches_for_a_master_that_hangs_keep_no_place_from_the_others(tmp_path: Path, keys: Keys) -> None:
    with start("cluster", tmp_path, Plan(dead_after=PATIENCE)) as site:
        assert isinstance(site, Cluster)
        pipe = Pipe(site.url, name="test", clock=SystemClock(), timeout=PATIENCE)
        async with asyncio.timeout(3 * PATIENCE), asyncio.TaskGroup() as group:
            running = group.create_task(pipe.run())
            await pipe.wait_up(PATIENCE)
            works, _ = publisher(pipe, keys)

            def master_of(topic: str) -> object:
                return site.owner(slot_of(keys.log(f"news:{topic}").encode()))

            topics = [f"t{number}" for number in range(200)]
            hung = master_of(topics[0])
            there = [topic for topic in topics if master_of(topic) is hung]
            elsewhere = next(topic for topic in topics if master_of(topic) is not hung)
            assert await works.publish(events([elsewhere])) == [Done()]  # its scripts are known there
            await asyncio.to_thread(site.pause, hung)
            try:
                stuck = [group.create_task(works.publish(events([topic]))) for topic in there[:AT_ONCE]]
                await asyncio.sleep(0)  # they have their places
                assert await works.publish(events([elsewhere])) == [Done()]
                assert not any(one.done() for one in stuck)
            finally:
                await asyncio.to_thread(site.resume, hung)
            for one in stuck:
                await one
            running.cancel()
