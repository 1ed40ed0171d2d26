"""TLS and users: every form of Redis over TLS with an account of its own, and a server that wants our certificate."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bus.clock import SystemClock
from bus.errors import BusDown
from bus.fitness import check_fitness
from bus.keys import Keys
from bus.pipe import Pipe, opened
from bus.settings import BadSetting
from tests.conftest import CALM
from tests.providers.tls import certificate
from tests.servers import Account, Plan, start

RULES = "~test-* +set +get +info +ping +role +asking +script|load +client|setname +cluster|info +cluster|slots"
ALICE = Account("alice", "secret@:alice", RULES, "+sentinel +client|setname")


@pytest.mark.sites
async def test_every_form_speaks_tls_and_knows_us_as_a_user(site_kind: str, tmp_path: Path, keys: Keys) -> None:
    with start(
        site_kind, tmp_path, Plan(tls=certificate(tmp_path), accounts=[ALICE], dead_after=CALM.dead_after)
    ) as site:
        async with asyncio.timeout(60), opened(site.url_of(ALICE), name="test", clock=SystemClock()) as pipe:
            assert await pipe.asks(("SET", keys.lease(p), p) for p in range(8)) == [b"OK"] * 8
            assert await pipe.asks(("GET", keys.lease(p)) for p in range(8)) == [b"%d" % p for p in range(8)]
            await check_fitness(pipe)


async def test_a_certificate_of_ours_is_shown(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with start("one", tmp_path, Plan(tls=pem)) as site:
        with site.client() as redis:
            redis.config_set("tls-auth-clients", "yes")
        clock = SystemClock()
        async with asyncio.timeout(60):
            async with opened(f"{site.url}&ssl_certfile={pem}&ssl_keyfile={pem}", name="test", clock=clock) as pipe:
                assert await pipe.ask("PING") == b"PONG"
            with pytest.raises(BusDown):
                async with opened(site.url, name="test", clock=clock):
                    pass


async def test_a_server_whose_certificate_nobody_vouches_for_is_not_talked_to(tmp_path: Path) -> None:
    with start("one", tmp_path, Plan(tls=certificate(tmp_path))) as site:
        untrusted = site.url.partition("?")[0]
        with pytest.raises(BusDown, match="certificate verify failed"):
            async with asyncio.timeout(60), opened(untrusted, name="test", clock=SystemClock()):
                pass


@pytest.mark.parametrize("options", ["ssl_ca_certs=/nowhere.pem", "ssl_certfile=/nowhere.pem"])
def test_a_file_that_is_not_there_is_a_setting_that_is_wrong(options: str) -> None:
    with pytest.raises(BadSetting, match=r"cannot be used \(/nowhere.pem\): No such file"):
        Pipe(f"rediss://:Sesame77@h?{options}", name="test", clock=SystemClock())


def test_a_file_that_holds_no_certificate_is_a_setting_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.write_text("nothing")
    with pytest.raises(BadSetting, match="no certificate or key in PEM"):
        Pipe(f"rediss://:Sesame77@h?ssl_certfile={file}", name="test", clock=SystemClock())
