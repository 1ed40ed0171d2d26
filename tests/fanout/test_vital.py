"""/readyz of a worker: its commands come back and its heartbeats are in time, or it says which is not so."""

from __future__ import annotations

import asyncio

import pytest

from bus.clock import SystemClock
from bus.keys import Keys
from bus.pipe import Pipe
from fanout import vital
from fanout.vital import Vital
from tests.bus.holding_proxy import holding_proxy
from tests.servers import RedisSite


class Beating:
    """Heartbeats whose last was so long ago."""

    def __init__(self) -> None:
        self.silence = 0.0

    def __call__(self) -> float:
        return self.silence


async def until(vital: Vital, ready: bool) -> dict[str, object]:
    async with asyncio.timeout(60):
        while vital.shown()[0] is not ready:  # noqa: ASYNC110  # nothing tells of an age
            await asyncio.sleep(0.02)
    return vital.shown()[1]


@pytest.mark.one_server
async def test_a_worker_is_ready_while_redis_answers_and_its_heart_beats(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vital, "EVERY", 0.02)
    monkeypatch.setattr(vital, "STALE", 0.3)
    async with asyncio.timeout(60), holding_proxy(redis_server.port) as (proxy, url), asyncio.TaskGroup() as group:
        pipe, beating = Pipe(url, name="test", clock=SystemClock()), Beating()
        worker = Vital(pipe, keys, SystemClock(), beating, 1.0)
        assert worker.shown()[0] is False
        tasks = [group.create_task(pipe.run()), group.create_task(worker.run())]
        assert (await until(worker, True))["state"] == "healthy"
        beating.silence = 1.5
        assert worker.shown() == (False, {**worker.shown()[1], "state": "stale", "heartbeat": 1.5})
        beating.silence = 0.1
        await until(worker, True)  # its own round trip may be late
        proxy.hold()
        shown = await until(worker, False)
        assert shown["state"] == "stale"
        assert isinstance(shown["seconds"], float)
        assert shown["seconds"] >= 0.3
        proxy.release()
        await until(worker, True)
        for task in tasks:
            task.cancel()
