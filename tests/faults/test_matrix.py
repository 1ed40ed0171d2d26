"""Rows of the fault matrix, one fault each, in a whole system under load; all invariants are checked after each."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.checker import check
from tests.faults.crowd import eventually
from tests.faults.ledger import REPLICATED, Fault
from tests.faults.nemesis import Kind, Step
from tests.faults.scene import Breaking, Scene, Size, Stage, under
from tests.faults.test_short_set import LIMITS
from tests.faults.world import World, world
from tests.redis_programs import in_path
from tocsin.embedded import find_server

HANG = 12.0
HOUR = 3_600.0
SMALL = Size(users=6)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("world"), fanouts=1, delivers=1) as made:
        yield made


async def row(made: World, seed: int, breaking: Breaking, **more: str) -> Scene:
    """A system under load in which this happens: nothing may be against an invariant."""
    async with asyncio.timeout(150):
        scene = await under(made, seed, breaking, SMALL, **more)
    assert [str(violation) for violation in check(scene.ledger, LIMITS)] == []
    assert scene.unhelpful == []
    return scene


def noted(stage: Stage, kind: str, began: float) -> None:
    stage.ledger.faults.append(Fault(kind, began, stage.now()))


async def state(made: World, number: int = 0) -> int:
    return await asyncio.to_thread(made.gateways[number].status, "/readyz")


async def until_state(made: World, wanted: int, number: int = 0) -> None:
    async with asyncio.timeout(30):
        while await state(made, number) != wanted:  # noqa: ASYNC110  # no event tells of it
            await asyncio.sleep(0.1)


async def test_redis_hangs_for_twelve_seconds(whole: World) -> None:
    """Connections stay and are pinged, producers are refused at once and in words, and nothing is stored twice."""

    async def hang(stage: Stage) -> None:
        began = stage.now()
        closes = [len(device.closes) for device in stage.devices]
        whole.site.pause()
        await asyncio.sleep(HANG)
        assert await state(whole) == 503
        whole.site.resume()
        await asyncio.to_thread(stage.mischief.forget_slowness)
        noted(stage, "Redis hangs", began)
        # A device hears that its server is silent after ping interval and some: nobody did.
        assert [len(device.closes) for device in stage.devices] == closes
        await until_state(whole, 200)

    await row(whole, 101, hang)


async def test_a_gateway_is_parted_from_redis(whole: World) -> None:
    """It says that it is not ready, keeps its connections, and reads on from where it was."""

    async def part(stage: Stage) -> None:
        began = stage.now()
        closes = [device.closes[:] for device in stage.devices]
        whole.wires["gateway 0"].hold()
        await until_state(whole, 503)
        await until_state(whole, 200, 1)
        assert [device.closes for device in stage.devices] == closes
        whole.wires["gateway 0"].heal()
        noted(stage, "parted", began)
        await until_state(whole, 200)

    await row(whole, 102, part)


async def test_clients_behind_a_blackhole_are_found_out_and_reached_otherwise(whole: World) -> None:
    """Within ping interval and pong timeout they count as away, and what they do not acknowledge goes out otherwise."""

    async def blackhole(stage: Stage) -> None:
        began, gateway = stage.now(), whole.gateways[0]
        stuck = {device.user for device in stage.devices if device.port == whole.doors["gateway 0"].port}
        alive = await asyncio.to_thread(gateway.metric, "tocsin_gateway_connections")
        whole.doors["gateway 0"].hold()
        async with asyncio.timeout(30):
            while await asyncio.to_thread(gateway.metric, "tocsin_gateway_connections") > 0:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert alive >= len(stuck) > 0
        noted(stage, "blackhole", began)

    scene = await row(whole, 103, blackhole)
    assert scene.ledger.calls


async def test_what_is_on_a_lost_way_is_seen_by_the_next_connection(whole: World) -> None:
    """The servers' sides end and nobody is told: clients find out by silence, and come back to all that they missed."""

    async def halve(stage: Stage) -> None:
        for door in whole.doors:
            await stage.mischief.perform(Step(0.0, Kind.HALF_OPEN, f"door {door}"))
        await eventually(lambda: not any(link.halves for link in whole.doors.values()))

    await row(whole, 104, halve)


async def test_the_disk_is_full(tmp_path: Path) -> None:
    """Redis refuses to write (MISCONF): producers are told to come back, nobody crashes, and it heals by itself."""
    # The limit of a file's size must fail a write, as a full disk does, and not kill the server.
    server = tmp_path / "server"
    server.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {in_path() or find_server()} \"$@\"\n")
    server.chmod(0o755)
    options = {"appendfsync": "everysec", "auto-aof-rewrite-percentage": "0"}
    with world(tmp_path, redis=options, server=str(server), gateways=1, fanouts=1, delivers=1) as made:

        async def fill(stage: Stage) -> None:
            began, pid = stage.now(), made.site.pid
            soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
            await until_state(made, 503)
            accepted = len(stage.ledger.accepted)
            await asyncio.sleep(2.0)
            assert len(stage.ledger.accepted) - accepted <= len(stage.sources)
            assert all(role.runs for role in made.roles.values())
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
            await until_state(made, 200)
            noted(stage, "the disk is full", began)

        await row(made, 105, fill)


async def test_clocks_jump_an_hour(tmp_path: Path) -> None:
    """On gateways and workers alike, ahead and back: what is timed by spans or by Redis's clock does not notice."""
    skew = tmp_path / "skew"
    skew.write_text("0")
    with world(tmp_path, gateways=1, fanouts=1, delivers=1, program=("tests.faults.skewed", str(skew))) as made:

        async def jump(stage: Stage) -> None:
            for seconds in (HOUR, 0.0, -HOUR, 0.0):
                _set(skew, seconds)
                sent = len(stage.ledger.accepted)
                await eventually(lambda sent=sent: len(stage.ledger.accepted) > sent + 5)
                await asyncio.sleep(1.5)

        await row(made, 106, jump)


def _set(file: Path, seconds: float) -> None:
    """In one step, for it is read all the time."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.rename(file)


@pytest.mark.sites
@pytest.mark.parametrize("form", ["sentinel", "cluster"])
async def test_a_replica_that_lags_is_promoted(tmp_path: Path, form: str) -> None:
    """What was not replicated may be gone, and everyone is told; what was asked to be replicated never is."""
    with world(tmp_path, form, gateways=1, fanouts=1, delivers=1) as made:

        async def lag(stage: Stage) -> None:
            await asyncio.sleep(1.0)
            await stage.mischief.perform(Step(0.0, Kind.LAG, "redis", 1.0))

        scene = await row(made, 107, lag, mode=REPLICATED)
        assert {accepted.mode for accepted in scene.ledger.accepted} == {REPLICATED, "stored"}
