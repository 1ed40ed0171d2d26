"""Is this a Redis that notifications can be trusted to? Asked of every master, once, at the start of every process."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Final

from bus.clock import Clock
from bus.errors import BusDown, BusError, Unfit
from bus.keys import Keys
from bus.pipe import Commands, Pipe, Topology, opened

FLOOR: Final = (6, 2)
EVICTING: Final = ("allkeys-", "volatile-")
RETRY: Final = 1.0
"""Seconds between two attempts to find Redis at the start."""

log = logging.getLogger(__name__)


async def fit(where: Topology, keys: Keys, clock: Clock, stop: asyncio.Event | None = None) -> bool:
    """Wait for a Redis that answers, and check it; False when told to stop before. Raises `Unfit`."""
    stop = stop or asyncio.Event()
    while not stop.is_set():
        try:
            async with opened(where, name="check", clock=clock, scripts=False) as pipe:
                await check_fitness(pipe)
                await check_installation(pipe, keys)
                return True
        except Unfit:
            raise
        except BusError as error:
            log.warning("waiting for Redis", extra={"reason": str(error)})
        with suppress(TimeoutError):
            async with asyncio.timeout(RETRY):
                await stop.wait()
    return False


async def check_fitness(pipe: Pipe) -> None:
    """Refuse a Redis that would lose notifications behind our back.

    Raises `Unfit` (too old, a policy that evicts, a node of a cluster under the URL of one server) with what to change,
    `BusError` when it does not answer, or not for all slots.
    """
    if pipe.map is not None and (uncovered := pipe.map.uncovered):
        raise BusDown(f"{uncovered} slots of the cluster have no master")
    for master in pipe.masters():
        await _check(master, at=f" at {master.name}" if master.name else "", cluster=pipe.cluster)


async def _check(master: Commands, at: str, cluster: bool) -> None:
    info = _fields(await master.ask("INFO", "server"))
    version = info["redis_version"]
    if tuple(int(part) for part in version.split(".")[:2]) < FLOOR:
        raise Unfit(
            f"Redis{at} is {version}; Tocsin needs 6.2 or later. Upgrade Redis, or point TOCSIN_REDIS_URL at another."
        )
    if info.get("redis_mode") == "cluster" and not cluster:
        raise Unfit("this Redis is a node of a cluster; write redis+cluster:// instead of redis:// in TOCSIN_REDIS_URL")
    policy = _fields(await master.ask("INFO", "memory")).get("maxmemory_policy", "noeviction")
    if policy.startswith(EVICTING):
        raise Unfit(
            f"Redis{at} has maxmemory-policy {policy}, under which it may throw whole streams away. "
            "Set `maxmemory-policy noeviction` in redis.conf, or: redis-cli CONFIG SET maxmemory-policy noeviction"
        )


def _fields(info: bytes) -> dict[str, str]:
    """INFO as names and values."""
    found = (line.partition(":") for line in info.decode().splitlines())
    return {name: value for name, colon, value in found if colon}


async def check_installation(pipe: Pipe, keys: Keys) -> None:
    """Fix the number of partitions at first start, and refuse another one ever after. Raises `Unfit`, `BusError`."""
    await pipe.ask("HSETNX", keys.installation, "partitions", keys.partitions)
    fixed = int(await pipe.ask("HGET", keys.installation, "partitions") or keys.partitions)
    if fixed != keys.partitions:
        raise Unfit(
            f"this installation was made with {fixed} partitions, which is fixed for good; the settings say "
            f"{keys.partitions}. Set TOCSIN_PARTITIONS={fixed}, or use another TOCSIN_PREFIX for a new installation."
        )
