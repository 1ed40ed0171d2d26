"""The development endpoints: what the demo page asks for, and that no other page may ask."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import jwt
import pytest
from conftest import open_pipe
from starlette.applications import Starlette

from bus.clock import SystemClock
from bus.keys import Keys
from gateway.api.dev import DevParts, is_own, routes
from gateway.api.price_feed import FeedOptions, PriceFeed, installed_steps
from gateway.api.problem import Refusal
from gateway.ingest import Ingest
from gateway.settings import GatewaySettings
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

SETTINGS = GatewaySettings(dev=True, token_secret="s" * 32)
PAGE = "http://127.0.0.1:8000"
LIMIT = 60.0


@asynccontextmanager
async def served(redis: RedisSite, keys: Keys) -> AsyncIterator[httpx.AsyncClient]:
    """The endpoints as the page sees them; everything they spawned has ended when the block has."""
    async with asyncio.timeout(LIMIT), open_pipe(redis.url) as pipe, asyncio.TaskGroup() as group:
        ingest = Ingest(pipe, keys, SystemClock())
        feed = PriceFeed(pipe, keys, ingest, group.create_task)
        app = Starlette(routes=routes(DevParts(SETTINGS, SystemClock(), ingest, feed)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client:
            yield client
            await client.delete("/dev/feed")


async def entries(redis: RedisSite, keys: Keys) -> list[dict[str, Any]]:
    async with open_pipe(redis.url) as pipe:
        streams = [await pipe.ask("XRANGE", keys.events(p), "-", "+") for p in range(keys.partitions)]
    return [json.loads(fields[fields.index(b"e") + 1]) for stream in streams for _, fields in stream]


async def test_the_page_and_its_files_come_with_a_strict_policy(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        page = await client.get("/", follow_redirects=True)
        assert page.status_code == 200
        assert "<title>Tocsin</title>" in page.text
        script = await client.get("/web/client/index.js")
        assert script.headers["content-type"].startswith("text/javascript")
        for response in (page, script):
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'")
            assert "unsafe" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path", ["package.json", "node_modules/typescript/package.json", "", "demo/%2e%2e/package.json"]
)
async def test_what_is_no_page_is_not_served(redis_server: RedisSite, keys: Keys, path: str) -> None:
    async with served(redis_server, keys) as client:
        assert (await client.get(f"/web/{path}")).status_code == 404


async def test_a_token_is_the_users_for_an_hour(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        response = await client.get("/dev/token", params={"user": "älice"})
        assert response.headers["cache-control"] == "no-store"
        answer = response.json()
        claims = jwt.decode(answer["token"], "s" * 32, algorithms=["HS256"], audience="tocsin", issuer="tocsin")
        assert (claims["sub"], claims["info"]) == ("älice", {"name": "älice"})
        assert claims["exp"] - claims["iat"] == answer["expires_in"] == 3600
        assert (await client.get("/dev/token")).status_code == 400


async def test_publish_goes_through_the_one_validator(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        accepted = await client.post("/dev/publish", json={"type": "note", "to": {"users": ["alice"]}, "title": "Hi"})
        assert accepted.status_code == 202
        assert accepted.json()["partition"] == keys.partition("alice")
        refused = await client.post("/dev/publish", json={"type": "tocsin.message", "to": {"users": []}})
        assert refused.status_code == 400
        assert {"pointer": "/type", "message": "must not begin with tocsin."} in refused.json()["errors"]
        assert (await client.post("/dev/publish", content=b"{")).status_code == 400
        assert (await client.post("/dev/publish", content=b" " * 70_000)).status_code == 413
        large = {"type": "x", "to": {"users": ["a"]}, "body": "a" * 10, "data": "ü" * 32_700}
        assert (await client.post("/dev/publish", content=json.dumps(large, ensure_ascii=False))).status_code == 413
    assert [event["id"] for event in await entries(redis_server, keys)] == [accepted.json()["id"]]


async def test_the_feed_runs_once_publishes_and_stops(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        assert (await client.get("/dev/feed")).json() == {"running": False}
        options = {"interval": 0.02, "users": ["carol"]}
        first, second = await client.post("/dev/feed", json=options), await client.post("/dev/feed", json=options)
        assert first.status_code == 202
        assert first.json()["run"] == second.json()["run"]
        while (await client.get("/dev/feed")).json().get("step", 0) < 15:
            pass  # asking takes a turn through Redis
        assert (await client.delete("/dev/feed")).json() == {"running": False}
    events = await entries(redis_server, keys)
    drops = [event for event in events if event["type"] == "price.drop"]
    assert {event["type"] for event in events} == {"price.tick", "price.drop"}
    assert drops
    assert all(event["to"]["users"] == ["carol"] for event in drops)


async def test_the_feed_ends_by_itself(redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = installed_steps()[:3]
    monkeypatch.setattr("gateway.api.price_feed.installed_steps", lambda: steps)
    async with served(redis_server, keys) as client:
        assert (await client.post("/dev/feed", json={"interval": 0.02})).json()["of"] == 3
        while (await client.get("/dev/feed")).json()["running"]:
            pass


async def test_without_price_data_the_page_is_told_why(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.api.price_feed.find_spec", lambda name: None)
    async with served(redis_server, keys) as client:
        assert "vega-datasets" in (await client.post("/dev/feed")).json()["reason"]


async def test_redis_away_is_503_and_come_back(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        async with served(redis, keys) as client:
            redis.kill()
            event = {"type": "note", "to": {"users": ["alice"]}}
            answers = [await client.post("/dev/publish", json=event), await client.get("/dev/feed")]
            assert [answer.status_code for answer in answers] == [503, 503]
            assert answers[0].headers["retry-after"] == "1"


@pytest.mark.parametrize(
    "raw",
    [[], {"interval": 0}, {"interval": "1"}, {"interval": True}, {"drop": 101}, {"users": "alice"}, {"users": [""]}],
)
async def test_feed_options_outside_their_range_are_refused(redis_server: RedisSite, keys: Keys, raw: object) -> None:
    assert isinstance(FeedOptions.read(raw), Refusal)
    async with served(redis_server, keys) as client:
        assert (await client.post("/dev/feed", json=raw)).status_code == 400
        assert (await client.post("/dev/feed", content=b"{")).status_code == 400


OWN = {"host": "127.0.0.1:8000"}


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        (OWN, True),
        (OWN | {"origin": "http://127.0.0.1:8000"}, True),
        ({"host": "localhost:8000", "origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, True),
        ({"host": "[::1]:8000", "origin": "http://[::1]:8000"}, True),
        ({"host": "[::1]"}, True),
        ({"host": "192.168.1.7:8000"}, True),
        ({"host": "box.internal:8000"}, True),  # the name it listens on
        (
            {"host": "evil.example:8000", "origin": "http://evil.example:8000"},
            False,
        ),  # a name that was made to point here
        (OWN | {"origin": "http://evil.example"}, False),
        (OWN | {"origin": "http://127.0.0.1:8001"}, False),
        (OWN | {"origin": "null"}, False),
        (OWN | {"sec-fetch-site": "cross-site"}, False),
        ({}, False),
    ],
)
def test_only_our_own_page_may_ask(headers: dict[str, str], own: bool) -> None:
    assert is_own(headers, "box.internal") is own


async def test_another_page_is_refused(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        for method, path in (("GET", "/dev/token?user=a"), ("POST", "/dev/publish"), ("DELETE", "/dev/feed")):
            response = await client.request(method, path, headers={"origin": "https://evil.example"})
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
