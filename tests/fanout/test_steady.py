"""The steady loop: stopped for longer than a wait may take, nobody is late; and real waits take what they take."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tests.fanout.steady import SteadyLoop


def run(test: Callable[[], object]) -> None:
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        runner.run(test())  # type: ignore[arg-type]


def test_time_in_which_nobody_could_work_makes_nobody_late() -> None:
    async def answered() -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        loop.call_later(0.02, answer.set_result, "in time")
        async with asyncio.timeout(0.1):
            time.sleep(0.3)  # noqa: ASYNC251  # as if the process were stopped
            assert await answer == "in time"

    run(answered)


def test_of_a_wait_that_was_held_up_a_half_counts() -> None:
    loop = SteadyLoop()
    try:
        before = loop.time()
        time.sleep(0.2)
        loop.waited(0.05)
        assert 0.02 < loop.time() - before < 0.04
    finally:
        loop.close()


def test_a_wait_takes_what_it_takes() -> None:
    async def waits() -> None:
        began, at = time.monotonic(), asyncio.get_running_loop().time()
        for _ in range(5):
            await asyncio.sleep(0.02)
        assert time.monotonic() - began >= 0.1 - 0.001
        assert asyncio.get_running_loop().time() - at >= 0.1 - 0.001

    run(waits)


def test_what_is_late_is_ended_all_the_same() -> None:
    async def late() -> None:
        try:
            async with asyncio.timeout(0.05):
                await asyncio.Event().wait()
        except TimeoutError:
            return
        raise AssertionError("it was not ended")

    run(late)
