"""redis-py for tests, by any form of the setting `redis_url`: one server, the master of a Sentinel trio, or a cluster.

Tests look into Redis with these as an outsider would, and so see what the product's own connections made there.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis import Redis, RedisCluster, asyncio
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.retry import Retry as AsyncRetry
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.retry import Retry
from redis.sentinel import Sentinel

TIMEOUT = 10.0


class _Master(Redis):
    """A client of the master that sentinels name, which takes its connections to the sentinels with it."""

    def close(self) -> None:
        super().close()
        for sentinel in self.connection_pool.sentinel_manager.sentinels:
            sentinel.close()


class _AsyncMaster(asyncio.Redis):
    """As `_Master`, for a loop."""

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        await super().aclose(close_connection_pool)
        for sentinel in self.connection_pool.sentinel_manager.sentinels:
            await sentinel.aclose()


def client(url: str, **options: Any) -> Redis:
    """A client that never repeats a command. Of a cluster it is a `RedisCluster`, which has the same methods."""
    parts = urlsplit(url)
    options = {"retry": _never()} | options
    made: Any
    if parts.scheme.endswith("+cluster"):
        nodes = [ClusterNode(host, port) for host, port in _hosts(parts)]
        made = RedisCluster(startup_nodes=nodes, **_common(parts), **options)
    elif parts.scheme.endswith("+sentinel"):
        sentinel = Sentinel(_hosts(parts), sentinel_kwargs=_sentinel(parts) | {"retry": _never()})
        made = sentinel.master_for(parts.path.strip("/"), _Master, **_common(parts), db=_db(parts), **options)
    else:
        made = Redis.from_url(url, **options)
    return made  # type: ignore[no-any-return]


def aclient(url: str, **options: Any) -> asyncio.Redis:
    """As `client`, for a loop: `async with aclient(url) as redis`."""
    parts = urlsplit(url)
    options = {"retry": AsyncRetry(NoBackoff(), 0)} | options
    made: Any
    if parts.scheme.endswith("+cluster"):
        nodes = [AsyncClusterNode(host, port) for host, port in _hosts(parts)]
        made = asyncio.RedisCluster(startup_nodes=nodes, **_common(parts), **options)
    elif parts.scheme.endswith("+sentinel"):
        sentinel = AsyncSentinel(
            _hosts(parts), sentinel_kwargs=_sentinel(parts) | {"retry": AsyncRetry(NoBackoff(), 0)}
        )
        made = sentinel.master_for(parts.path.strip("/"), _AsyncMaster, **_common(parts), db=_db(parts), **options)
    else:
        made = asyncio.Redis.from_url(url, **options)
    return made  # type: ignore[no-any-return]


def _never() -> Retry:
    return Retry(NoBackoff(), 0)


def _hosts(parts: SplitResult) -> list[tuple[str, int]]:
    hosts = parts.netloc.rpartition("@")[2].split(",")
    return [(host.rpartition(":")[0], int(host.rpartition(":")[2])) for host in hosts]


def _query(parts: SplitResult) -> dict[str, str]:
    return dict(parse_qsl(parts.query))


def _db(parts: SplitResult) -> int:
    return int(_query(parts).get("db", 0))


def _account(parts: SplitResult) -> dict[str, Any]:
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    return {"username": unquote(user) or None, "password": unquote(password) or None}


def _tls(parts: SplitResult) -> dict[str, Any]:
    if not parts.scheme.startswith("rediss"):
        return {}
    return {"ssl": True} | {name: value for name, value in _query(parts).items() if name.startswith("ssl_")}


def _common(parts: SplitResult) -> dict[str, Any]:
    return {"socket_timeout": TIMEOUT, **_account(parts), **_tls(parts)}


def _sentinel(parts: SplitResult) -> dict[str, Any]:
    query = _query(parts)
    account = {"username": query.get("sentinel_username"), "password": query.get("sentinel_password")}
    return {"socket_timeout": TIMEOUT, **account, **_tls(parts)}
