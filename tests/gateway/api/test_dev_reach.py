"""What the demo page asks about people: an address for each, what became of what was sent, and taking it back."""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import pytest
from conftest import open_pipe
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from bus.clock import SystemClock
from bus.keys import Keys
from bus.naming import name_fault
from bus.people.profile import address_fault
from gateway.api.dev_reach import address_of, parts, routes
from gateway.settings import GatewaySettings
from tests.servers import RedisSite

PAGE = "http://127.0.0.1:8000"
LIMIT = 60.0
KEY = urlsafe_b64encode(bytes(32)).decode()
SETTINGS = GatewaySettings(dev=True, directory_keys=(f"k1:{KEY}",), directory_index_key=KEY)


@asynccontextmanager
async def served(
    redis: RedisSite, keys: Keys, settings: GatewaySettings = SETTINGS
) -> AsyncIterator[httpx.AsyncClient]:
    async with asyncio.timeout(LIMIT), open_pipe(redis.url) as pipe:
        app = Starlette(routes=routes(parts(settings, SystemClock(), pipe, keys)))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client:
            yield client


@given(st.text(max_size=128).filter(lambda name: name_fault(name) is None))
def test_everybody_has_an_address(user: str) -> None:
    assert address_fault("email", address_of(user)) is None


def test_addresses_are_of_one_person_each() -> None:
    assert address_of("alice") == "alice@demo.test"
    names = ["alice", "Alice", "älice", "a/lice", "-alice", "!", "?"]
    assert len({address_of(name) for name in names}) == len(names)


async def test_whoever_is_met_gets_an_address_and_keeps_it(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        for _ in range(2):
            answer = await client.post("/dev/people/alice")
            assert answer.json() == {"user": "alice", "email": "alice@demo.test"}
        assert (await client.post("/dev/people/a%2Fb")).json()["user"] == "a/b"
        assert (await client.post("/dev/people/%01")).status_code == 400


async def test_without_keys_nobody_can_have_one(redis_server: RedisSite, keys: Keys) -> None:
    bare = replace(SETTINGS, directory_keys=(), directory_index_key="")
    async with served(redis_server, keys, bare) as client:
        answer = await client.post("/dev/people/alice")
        assert answer.status_code == 403
        assert "directory_keys" in answer.json()["detail"]


async def test_what_is_not_known_yet_was_accepted(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        answer = await client.get("/dev/events/e1", params={"user": "alice"})
        assert answer.status_code == 200
        told = answer.json()
        assert (told["state"], told["recipient"], told["summary"]) == ("accepted", None, "")
        assert (await client.get("/dev/events/e1")).status_code == 400


async def test_what_is_taken_back_is_told_so(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        answer = await client.delete("/dev/events/e1")
        assert answer.json() == {"id": "e1", "withdrawn": True, "recipients": 0}
        told = (await client.get("/dev/events/e1", params={"user": "alice"})).json()
        assert told["state"] == "withdrawn"
        assert told["summary"] == "It was withdrawn before it reached alice."
        assert (await client.delete("/dev/events/%01")).status_code == 400


@pytest.mark.parametrize(("method", "path"), [("POST", "people/a"), ("GET", "events/e?user=a"), ("DELETE", "events/e")])
async def test_other_sites_are_not_answered(redis_server: RedisSite, keys: Keys, method: str, path: str) -> None:
    async with served(redis_server, keys) as client:
        answer = await client.request(method, f"/dev/{path}", headers={"origin": "https://evil.example"})
        assert answer.status_code == 403
