"""The sweep: one timer for all, in order, and none while there is nothing to wait for."""

from __future__ import annotations

import asyncio

from gateway.sweep import MOST, Sweep


async def test_who_stays_too_long_is_ended_in_order() -> None:
    ended: list[str] = []
    done = asyncio.Event()

    def end(item: str) -> None:
        ended.append(item)
        if item == "last":
            done.set()

    sweep: Sweep[str] = Sweep(0.05, end)
    for item in ("a", "b", "c"):
        sweep.add(item)
    sweep.discard("b")
    sweep.discard("b")
    sweep.add("last")
    sweep.add("last")
    assert len(sweep) == 3
    async with asyncio.timeout(30):
        await done.wait()
    assert ended == ["a", "c", "last"]
    assert len(sweep) == 0


async def test_the_timer_stops_with_the_last_and_starts_again() -> None:
    ended = asyncio.Event()
    sweep: Sweep[str] = Sweep(0.01, lambda item: ended.set())
    for item in ("a", "b"):
        ended.clear()
        sweep.add(item)
        async with asyncio.timeout(30):
            await ended.wait()
        assert sweep._timer is None
    ended.clear()
    sweep.add("gone")
    sweep.discard("gone")
    async with asyncio.timeout(30):
        while sweep._timer is not None:  # noqa: ASYNC110  # nothing tells, which is what is looked for
            await asyncio.sleep(0.01)
    assert not ended.is_set()


async def test_very_many_are_ended_a_part_at_a_time() -> None:
    ended: list[int] = []
    parts: list[int] = []
    sweep: Sweep[int] = Sweep(0.0, ended.append)
    for item in range(3 * MOST):
        sweep.add(item)
    async with asyncio.timeout(30):
        while len(sweep):
            await asyncio.sleep(0)
            parts.append(len(ended))
    assert ended == list(range(3 * MOST))
    assert {MOST, 2 * MOST} <= set(parts)
