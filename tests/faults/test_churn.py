"""Thousands of connections come and go, and the gateway's process is as it was: memory, open files, threads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.faults.churn import Look, complaints, soaked

CONNECTS = 4_000


@pytest.mark.slow
@pytest.mark.one_server
async def test_nothing_grows_while_clients_come_and_go(tmp_path: Path) -> None:
    async with asyncio.timeout(200):
        looks, found = await soaked(tmp_path, CONNECTS, 64, lambda text: None)
    assert found == [], looks
    assert looks[-1].connects == CONNECTS


def test_whatever_grows_is_told() -> None:
    looks = [Look(n, 50_000_000, 20, 4, 0) for n in range(10)]
    assert complaints(looks, 0) == []
    looks[-1] = Look(10, 60_000_000, 30, 9, 0)
    assert [text.split()[0] for text in complaints(looks, 3)] == ["3", "memory", "open", "threads"]
