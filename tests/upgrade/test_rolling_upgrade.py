"""A rolling upgrade: roles of the previous release and of this one on one Redis, in both orders.

Events come by POST and by XADD, people are connected and move with their cursors from a gateway of one release to one
of the other and back, workers are replaced while steps of a ladder wait, and a provider is called once per delivery.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import httpx
import orjson
import pytest
from aiohttp import web
from redis.asyncio import Redis

from bus.keys import Keys
from tests.fanout.office import HOOK, INDEX, SEAL
from tests.faults.crowd import INBOX, Person, coming, eventually
from tests.faults.producers import Adder
from tests.ports import free_port
from tests.providers.scripted import listening
from tests.servers import Plan, start
from tests.system import KEY, OPEN, SECRET, Gateway, Role
from tests.upgrade.releases import Release, previous
from tocsin.toml import to_toml

PARTITIONS = 8
LIMIT = 240
TOPIC = "room:upgrade"
HERE = Release("itself")
RELEASES = [previous()]
UNLESS_ACKED = [{"via": "live"}, {"via": "webhook", "after": 6, "unless": "acked"}]
UNLESS_READ = [{"via": "live"}, {"via": "webhook", "after": 3, "unless": "read"}]
"""Who is not connected is called at once."""

pytestmark = [pytest.mark.one_server, pytest.mark.slow]


@dataclass
class Provider:
    """A webhook's other end."""

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By user and event."""

    async def take(self, request: web.Request) -> web.StreamResponse:
        told = orjson.loads(await request.read())
        self.calls[request.path.strip("/"), _event_in(told)] += 1
        return web.Response(status=204)


def _event_in(told: Any) -> str:
    return str(told["data"]["event"]["id"] if "event" in told.get("data", {}) else told["data"]["id"])


@dataclass
class Stage:
    """One Redis, and roles of two releases on it."""

    folder: Path
    environ: dict[str, str]
    homes: Mapping[Release, Path]
    provider: Provider
    producer: Redis
    http: httpx.AsyncClient
    stack: ExitStack
    ports: list[int]
    _roles: list[Role] = field(default_factory=list)

    def _environ(self, release: Release) -> dict[str, str]:
        # With the folder of neither the command nor the tests in front of the release's own.
        return self.environ | {"PYTHONPATH": str(self.homes[release]), "PYTHONSAFEPATH": "1"}

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}{len(self._roles)}.log"

    def start(self, name: str, release: Release) -> Role:
        role = Role(name, self._environ(release), self._log(name))
        return self._begin(role)

    async def gateway(self, release: Release, port: int) -> Gateway:
        environ = self._environ(release) | {"TOCSIN_PORT": str(port)}
        gateway = Gateway("gateway", environ, self._log("gateway"), port=port)
        self._begin(gateway)
        await asyncio.to_thread(gateway.until_ready)
        return gateway

    def _begin(self, role: Any) -> Any:
        self._roles.append(role)
        self.stack.callback(role.kill)
        role.start()
        return role

    async def post(self, gateway: Gateway, number: int, ladder: Any, users: list[str], topics: list[str]) -> None:
        event = _event(number, ladder, users, topics)
        answer = await self.http.post(f"{gateway.origin}/v1/events", json=event, headers={"x-api-key": KEY})
        assert answer.status_code == 202, answer.text

    async def add(self, number: int, ladder: Any, users: list[str], topics: list[str]) -> None:
        assert await Adder(self.producer, Keys("tocsin", PARTITIONS))(_event(number, ladder, users, topics))

    async def reach(self, gateway: Gateway, origin: str, user: str) -> None:
        """Tell a gateway where a person's webhook is."""
        profile = {"webhook": {"url": f"{origin}/{user}", "secret": HOOK.secret}}
        path, headers = f"{gateway.origin}/v1/users/{user}", {"x-api-key": KEY}
        answer = await self.http.put(path, json=profile, headers=headers)
        assert answer.status_code in (200, 201, 204), answer.text

    def faults(self) -> list[str]:
        """Lines of logs that are none, or that tell of something unexpected."""
        lines = [line for role in self._roles for line in role.log.read_text().splitlines()]
        return [line for line in lines if not line.startswith('{"time"') or '"error": {' in line]


def _event(number: int, ladder: Any, users: list[str], topics: list[str]) -> dict[str, Any]:
    audience = {"users": users, "topics": topics}
    return {"id": f"n{number}", "type": "note", "key": "k", "to": audience, "data": number, "ladder": ladder}


@asynccontextmanager
async def _stage(folder: Path, old: Release) -> AsyncIterator[tuple[Stage, str]]:
    keys = {"shop": {"sha256": sha256(KEY.encode()).hexdigest(), "scopes": ["events", "admin"]}}
    config = {"partitions": PARTITIONS, "directory_keys": [f"k1:{SEAL}"], "directory_index_key": INDEX}
    config |= {"namespaces": {"room": OPEN}, "gateway": {"api_keys": keys, "drain_seconds": 0.5}}
    (folder / "tocsin.toml").write_text(to_toml(config | {"deliver": {"allow_private_addresses": True}}))
    homes = {HERE: HERE.unpack(folder), old: old.unpack(folder / "previous")}
    provider = Provider()
    with ExitStack() as stack:
        server = stack.enter_context(start("one", folder / "redis", Plan()))
        environ = {"TOCSIN_CONFIG": str(folder / "tocsin.toml"), "TOCSIN_REDIS_URL": server.url}
        environ |= {"TOCSIN_TOKEN_SECRET": SECRET}
        ports = [free_port(), free_port(), free_port()]
        async with listening(provider.take) as origin, httpx.AsyncClient(timeout=30) as http:
            producer = Redis.from_url(server.url)
            yield Stage(folder, environ, homes, provider, producer, http, stack, ports), origin
            await producer.aclose()


@pytest.mark.parametrize("old", RELEASES, ids=lambda release: release.name)
@pytest.mark.parametrize("gateways_first", [True, False], ids=["gateways first", "workers first"])
async def test_nothing_is_lost_while_roles_are_replaced_one_by_one(
    tmp_path: Path, old: Release, gateways_first: bool
) -> None:
    new_gateway, new_worker = (HERE, old) if gateways_first else (old, HERE)
    async with asyncio.timeout(LIMIT), _stage(tmp_path, old) as (stage, origin):
        gateway, worker, sender = await _begin(stage, new_gateway, new_worker)
        for user in ("ann", "bob"):
            await stage.reach(gateway, origin, user)
        chance, ports = Random(1), stage.ports
        devices = [Person(user, [TOPIC], ports, chance, port=ports[0]) for user in ("ann", "ann", "cleo")]
        async with coming(*devices):
            await eventually(lambda: all(device.ready.is_set() for device in devices))
            # Ann is connected and has it by that; Bob is not and is called at once.
            await stage.post(gateway, 1, UNLESS_ACKED, ["ann", "bob", "cleo"], [TOPIC])
            await stage.add(2, UNLESS_ACKED, ["ann", "bob", "cleo"], [TOPIC])
            await _arrived(devices, [1, 2])
            await eventually(lambda: _calls(stage, "bob") == [1, 2])
            # People move to a gateway of the other release with their cursors, while more comes.
            other = await stage.gateway(new_worker, ports[1])
            await _replaced(stage, gateway, 3, devices)
            await stage.post(other, 4, UNLESS_READ, ["ann", "bob", "cleo"], [TOPIC])
            await _arrived(devices, [1, 2, 3, 4])
            # Workers are replaced while the step of Ann's ladder waits; for a while both share the partitions.
            stage.start("fanout", new_gateway)
            stage.start("deliver", new_gateway)
            await stage.add(5, UNLESS_ACKED, ["ann", "bob", "cleo"], [TOPIC])
            await asyncio.to_thread(worker.end)
            await asyncio.to_thread(sender.end)
            await _arrived(devices, [1, 2, 3, 4, 5])
            # And back again.
            await stage.gateway(new_gateway, ports[2])
            await _replaced(stage, other, 6, devices)
            await _arrived(devices, [1, 2, 3, 4, 5, 6])
            await eventually(lambda: _calls(stage, "bob") == [1, 2, 3, 4, 5, 6] and 4 in _calls(stage, "ann"))
        assert [fault for device in devices for fault in device.faults] == []
        assert all(device.recoveries >= 2 for device in devices)
        # What came as a gateway closed may have been read and never acknowledged, so that is called for too.
        assert set(_calls(stage, "ann")) <= {3, 4, 6}
        assert set(stage.provider.calls.values()) == {1}
        assert stage.faults() == []


async def _begin(stage: Stage, gateways: Release, workers: Release) -> tuple[Gateway, Role, Role]:
    worker, sender = stage.start("fanout", workers), stage.start("deliver", workers)
    return await stage.gateway(gateways, stage.ports[0]), worker, sender


async def _replaced(stage: Stage, gateway: Gateway, number: int, devices: list[Person]) -> None:
    """A gateway goes, and an event comes while it does."""
    ending = asyncio.create_task(asyncio.to_thread(gateway.end))
    await stage.add(number, UNLESS_ACKED, ["ann", "bob", "cleo"], [TOPIC])
    assert await ending == 0
    await eventually(lambda: all(device.ready.is_set() and device.port != gateway.port for device in devices))


async def _arrived(devices: list[Person], numbers: list[int]) -> None:
    """Everybody has these, in this order and once, in the inbox and in the topic."""
    await eventually(
        lambda: all(len(device.got[where]) >= len(numbers) for device in devices for where in (INBOX, TOPIC))
    )
    for device in devices:
        assert device.got == {INBOX: numbers, TOPIC: numbers}


def _calls(stage: Stage, user: str) -> list[int]:
    return sorted(int(event[1:]) for name, event in stage.provider.calls if name == user)
