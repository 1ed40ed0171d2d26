"""The whole system over TLS, each role under its own Redis user, on every form of Redis."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from redis.exceptions import RedisClusterException, RedisError

from tests.providers.tls import certificate
from tests.redis_clients import client as redis_client
from tests.system import KEY, Gateway, system, token
from tests.tocsin_system import client

pytestmark = [pytest.mark.sites, pytest.mark.slow]


def post(gateway: Gateway, event: dict[str, Any]) -> int:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with urlopen(Request(f"{gateway.origin}/v1/events", json.dumps(event).encode(), headers), timeout=30) as answer:
        return int(answer.status)


async def test_an_event_reaches_its_people_with_no_right_too_few(site_kind: str, tmp_path: Path) -> None:
    certified = certificate(tmp_path)
    with system(tmp_path, site=site_kind, tls=certified, redis={"appendonly": "no"}, partitions=8) as made:
        (gateway,) = made.gateways
        async with asyncio.timeout(90), client(f"ws://127.0.0.1:{gateway.port}/connection/websocket") as alice:
            assert "connect" in await alice.ask("connect", token=token("alice"))
            for number in range(4):
                event = {"id": f"e{number}", "type": "note", "to": {"users": ["alice"]}, "data": number}
                assert await asyncio.to_thread(post, gateway, event) == 202
                assert (await alice.publication("inbox"))["data"]["data"] == number
        assert made.tocsin("dead", "ls") == "nothing is buried\n"
        for account in (None, made.accounts["producer"]):
            with pytest.raises((RedisError, RedisClusterException)), redis_client(made.redis.url_of(account)) as redis:
                redis.get("tocsin:installation")
        roles = {made.accounts[role].name for role in ("gateway", "fanout", "cli")}
        for node in made.redis.data_nodes:
            denied = [(entry["username"], entry["object"]) for entry in node.redis.acl_log()]
            assert [entry for entry in denied if entry[0] in roles] == []
