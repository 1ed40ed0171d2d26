"""Tickets: for a good token only, kept by hash, for half a minute, and taken once."""

from __future__ import annotations

import asyncio

import pytest

from bus.keys import Keys
from gateway.api import claims
from gateway.api.app import application
from gateway.api.ticket import Tickets
from gateway.effects import Claims
from gateway.metrics import ApiStats
from gateway.origins import Origins
from gateway.tickets import PREFIX, TTL, digest, is_ticket, pack, unpack
from tests.bus.holding_proxy import holding_proxy
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import TOKENS
from tests.looking import names
from tests.servers import RedisSite


async def test_a_token_gives_a_ticket_that_redis_knows_by_its_hash(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})
        assert response.status_code == 200
        assert response.headers["cache-control"] == "no-store"
        made = response.json()["ticket"]
        assert response.json()["expires_in"] == TTL == 30
        assert is_ticket(made)
        assert len(made) > 40
        (name,) = await names(api.pipe, api.keys)
        assert made not in name.decode()
        assert name.decode() == api.keys.ticket(digest(made))
        assert 0 < await api.pipe.ask("TTL", name) <= TTL
        assert unpack(await api.pipe.ask("GET", name)) == TOKENS["good"].claims  # type: ignore[union-attr]


async def test_of_those_who_take_a_ticket_at_once_one_gets_it(open_api: OpenApi) -> None:
    async with open_api() as api:
        made = (await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})).json()["ticket"]
        async with asyncio.TaskGroup() as group:
            takers = [group.create_task(api.pipe.ask("GETDEL", api.keys.ticket(digest(made)))) for _ in range(5)]
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
        assert await names(api.pipe, api.keys) == []


async def test_a_verifier_that_does_not_answer_is_not_waited_for_for_ever(
    open_api: OpenApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "SECONDS", 0.01)
    async with open_api() as api:
        endpoint = Tickets(api.pipe, api.keys, lambda token, answer: None, Origins(()))
        api.client._transport.app = application([endpoint.route()], ApiStats())  # type: ignore[attr-defined]
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})
        assert response.status_code == 503


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://app.example", 200),
        ("http://gateway", 200),
        ("https://evil-app.example", 403),
        ("https://app.example.evil", 403),
        ("https://app.example:444", 403),
        ("null", 403),
    ],
)
async def test_pages_of_other_sites_need_to_be_on_the_list(open_api: OpenApi, origin: str, status: int) -> None:
    async with open_api(allowed_origins=("https://app.example",)) as api:
        headers = {"authorization": "Bearer good", "origin": origin}
        response = await api.client.post("/v1/ticket", headers=headers)
        assert response.status_code == status
        assert response.headers["vary"] == "Origin"
        assert response.headers.get("access-control-allow-origin") == (origin if status == 200 else None)
        preflight = await api.client.options("/v1/ticket", headers={"origin": origin})
        assert preflight.status_code == (204 if status == 200 else 403)


async def test_a_ticket_is_asked_for_by_post(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.client.get("/v1/ticket")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST, OPTIONS"


async def test_an_expired_token_is_called_so(open_api: OpenApi) -> None:
    async with open_api() as api:
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer expired"})
        assert response.json()["detail"] == "the token has expired"


@pytest.mark.one_server
async def test_without_redis_it_is_503(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys) as api:
        await api.cut_off(proxy)
        response = await api.client.post("/v1/ticket", headers={"authorization": "Bearer good"})
        assert response.status_code == 503


@pytest.mark.parametrize("claims", [Claims("a", 1.5), Claims("ü", 1.0, ("a:b",), b'{"x":"\xc3\xa9"}')])
def test_packed_claims_come_back(claims: Claims) -> None:
    assert unpack(pack(claims)) == claims
