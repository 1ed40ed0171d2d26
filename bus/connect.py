"""How this system talks to Redis: with explicit timeouts, and never by repeating a command on its own.

redis-py's defaults would repeat a timed-out XADD and so append it twice (docs/decisions/0002). `client` is for ordinary
commands; the hot path and every blocking read use `bus.pipe`.
"""

from __future__ import annotations

from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bus.errors import BusDown, Unfit
from bus.keys import Keys

CONNECT_TIMEOUT: Final = 2.0
COMMAND_TIMEOUT: Final = 5.0
BACKOFF: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between attempts to connect."""
MAX_IN_FLIGHT: Final = 100_000
"""Commands of one connection that wait for their replies; more are refused."""
BLOCK: Final = 5.0
"""How long a blocking read waits at Redis, in seconds; its socket waits `COMMAND_TIMEOUT` longer."""
FLOOR: Final = (6, 2)
EVICTING: Final = ("allkeys-", "volatile-")


def client(url: str, *, name: str) -> Redis:
    """For ordinary commands. Raises nothing: it connects at first use."""
    return Redis.from_url(
        url,
        client_name=name,
        socket_timeout=COMMAND_TIMEOUT,
        socket_connect_timeout=CONNECT_TIMEOUT,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=False,
    )


async def check_fitness(redis: Redis) -> None:
    """Refuse a Redis that would lose notifications behind our back.

    Raises `Unfit` (too old, or a policy that evicts) with what to change, `BusDown` when Redis does not answer.
    """
    try:
        info = await redis.info("server")
        policy = (await redis.info("memory")).get("maxmemory_policy", "noeviction")
    except (RedisError, OSError) as error:
        raise BusDown(f"Redis does not answer: {error}") from error
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < FLOOR:
        raise Unfit(
            f"Redis is {version}; Tocsin needs 6.2 or later. Upgrade Redis, or point TOCSIN_REDIS_URL at another."
        )
    if str(policy).startswith(EVICTING):
        raise Unfit(
            f"Redis has maxmemory-policy {policy}, under which it may throw whole streams away. "
            "Set `maxmemory-policy noeviction` in redis.conf, or: redis-cli CONFIG SET maxmemory-policy noeviction"
        )


async def check_installation(redis: Redis, keys: Keys) -> None:
    """Fix the number of partitions at first start, and refuse another one ever after. Raises `Unfit`."""
    await redis.hsetnx(keys.installation, "partitions", str(keys.partitions))
    fixed = int(await redis.hget(keys.installation, "partitions") or keys.partitions)
    if fixed != keys.partitions:
        raise Unfit(
            f"this installation was made with {fixed} partitions, which is fixed for good; the settings say "
            f"{keys.partitions}. Set TOCSIN_PARTITIONS={fixed}, or use another TOCSIN_PREFIX for a new installation."
        )
