"""Tickets: for a good token only, kept by hash, for half a minute, and taken once."""

from __future__ import annotations

import asyncio

import pytest

from bus.keys import Keys
from gateway.effects import Claims
from gateway.tickets import PREFIX, TTL, digest, is_ticket, pack, unpack
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import TOKENS
from tests.gateway.api.proxy import open_proxy
from tocsin.embedded import EmbeddedRedis


async def test_a_token_gives_a_ticket_that_redis_knows_by_its_hash(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        ticket = response.json()["ticket"]
        assert response.json()["expires_in"] == TTL == 30
        assert is_ticket(ticket)
        assert len(ticket) > 40
        (name,) = await api.pipe.ask("KEYS", f"{api.keys.prefix}:ticket:*")
        assert ticket not in name.decode()
        assert name.decode() == api.keys.ticket(digest(ticket))
        assert 0 < await api.pipe.ask("TTL", name) <= TTL
        assert unpack(await api.pipe.ask("GET", name)) == TOKENS["good"].claims  # type: ignore[union-attr]


async def test_of_those_who_take_a_ticket_at_once_one_gets_it(open_api: OpenApi) -> None:
    async with open_api() as api:
        ticket = (await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})).json()["ticket"]
        async with asyncio.TaskGroup() as group:
            takers = [group.create_task(api.pipe.ask("GETDEL", api.keys.ticket(digest(ticket)))) for _ in range(5)]
        assert sum(taker.result() is not None for taker in takers) == 1


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer ", 401),
        ("Basic good", 401),
        ("Bearer unknown", 401),
        ("Bearer expired", 401),
        (f"Bearer {PREFIX}good", 401),
        ("Bearer " + "x" * 1_000_000, 401),
        ("Bearer unchecked", 503),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_without_a_good_token_there_is_none(open_api: OpenApi, authorization: str, status: int) -> None:
    async with open_api() as api:
        response = await api.client.post("/v1/ticket", headers={"authorization": authorization})
        assert response.status_code == status
        assert ("www-authenticate" in response.headers) == (status == 401)
        assert ("retry-after" in response.headers) == (status == 503)
        assert await api.pipe.ask("KEYS", f"{api.keys.prefix}:*") == []


async def test_an_expired_token_is_called_so(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer expired"})
        assert response.json()["detail"] == "the token has expired"


async def test_without_redis_it_is_503(redis_server: EmbeddedRedis, keys: Keys) -> None:
    async with open_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys) as api:
        await proxy.cut_off(api.pipe)
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})
        assert response.status_code == 503


@pytest.mark.parametrize("claims", [Claims("a", 1.5), Claims("ü", 1.0, ("a:b",), b'{"x":"\xc3\xa9"}')])
def test_packed_claims_come_back(claims: Claims) -> None:
    assert unpack(pack(claims)) == claims
