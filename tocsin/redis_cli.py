"""The way to `redis-cli`: what our URL says, as its options, for by itself it knows the URL of one server alone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

from bus.address import Address, Cluster, OneServer, Place, Socket, Tls
from bus.clock import SystemClock
from bus.errors import BusDown
from bus.pipe import Topology, opened
from bus.pipe.watch import SentinelWatch
from tocsin.embedded import find_client


def become_redis_cli(url: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become redis-cli, connected to our Redis; does not return.

    Raises `NoRedis` when there is no such program, `BadSetting`, `BusDown` when no master is found.
    """
    program = find_client()
    where = Topology(url, clock=SystemClock())
    place = asyncio.run(_master(where))
    # Not as an argument: those can be seen by everybody on this machine.
    secret = {"REDISCLI_AUTH": where.address.login.password} if where.address.login.password else {}
    os.execve(program, [program, *options(where.address, place), *arguments], {**environ, **secret})


async def _master(where: Topology) -> Place | Socket:
    """Whom to talk to: of a cluster any master, for redis-cli follows its redirections."""
    if isinstance(where.address, OneServer):
        return where.address.place
    async with opened(where, name="redis-cli", clock=SystemClock(), scripts=False) as pipe:
        if pipe.map is not None and pipe.map.masters:
            return pipe.map.masters[0]
        if isinstance(where.watch, SentinelWatch) and where.watch.master is not None:
            return where.watch.master
    raise BusDown("no master is known")


def options(address: Address, place: Place | Socket) -> list[str]:
    """What redis-cli is started with, but for the password."""
    given = ["-s", place.path] if isinstance(place, Socket) else ["-h", place.host, "-p", str(place.port)]
    if isinstance(address, Cluster):
        given += ["-c"]
    elif address.db:
        given += ["-n", str(address.db)]
    if address.login.user:
        given += ["--user", address.login.user]
    return given + _tls(address.tls)


def _tls(tls: Tls | None) -> list[str]:
    if tls is None:
        return []
    files = (("--cacert", tls.ca), ("--cert", tls.cert), ("--key", tls.key))
    return ["--tls", *(part for option, file in files if file for part in (option, file))]
