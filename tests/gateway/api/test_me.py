"""The HTTP twins of the procedures: who may, where the parameters come from, and each fault's status."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.api import me
from gateway.api.app import application
from gateway.metrics import ApiStats
from gateway.procedures import MOST, Answer, Caller, Fault, Params, Procedures, Wrong
from gateway.tickets import PREFIX as TICKET
from tests.gateway.api.harness import TOKENS

GOOD = {"authorization": "Bearer good"}


@dataclass
class Pages:
    def origin_allowed(self, origin: str | None, host: str) -> bool:
        return origin in (None, "https://app.example")


@asynccontextmanager
async def serving(answer: Answer | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Every procedure there is a path for: it says what it was given, or `answer`."""
    procedures = Procedures()

    def named(name: str) -> Any:
        async def say(caller: Caller, params: Params) -> Answer:
            assert caller.connection is None
            return {"name": name, "user": caller.user, "params": dict(params)} if answer is None else answer

        return say

    names = {name for methods in me.PATHS.values() for name in methods.values()}
    procedures.add({name: named(name) for name in names})
    routes = me.routes(procedures, lambda token, told: told(TOKENS.get(token, TOKENS["unknown"])), Pages())
    transport = httpx.ASGITransport(application(routes, ApiStats()), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=GOOD) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "content", "name", "params"),
    [
        ("GET", "/inbox?limit=5&state=unread", b"", "inbox.list", {"limit": 5, "state": "unread"}),
        ("GET", "/inbox", b"", "inbox.list", {}),
        ("GET", "/inbox/count", b"", "inbox.count", {}),
        ("POST", "/read", b'{"offsets":[1]}', "read", {"offsets": [1]}),
        ("POST", "/unread", b'{"ids":["a"]}', "unread", {"ids": ["a"]}),
        ("POST", "/archive", b"{}", "archive", {}),
        ("POST", "/unarchive", b"", "unarchive", {}),
        ("POST", "/seen", b'{"upto":3}', "seen", {"upto": 3}),
        ("POST", "/ack", b'{"to":3}', "ack", {"to": 3}),
        ("GET", "/preferences", b"", "prefs.get", {}),
        ("PATCH", "/preferences", b'{"locale":"de"}', "prefs.set", {"locale": "de"}),
        ("GET", "/devices", b"", "devices.list", {}),
        ("POST", "/devices", b'{"provider":"fcm"}', "devices.add", {"provider": "fcm"}),
        ("GET", "/devices/key", b"", "devices.key", {}),
        ("DELETE", "/devices/17", b"", "devices.remove", {"id": "17"}),
        ("GET", "/topics", b"", "topics.list", {}),
        ("PUT", "/topics/news:a/b", b"", "topics.follow", {"topic": "news:a/b"}),
        ("DELETE", "/topics/news:sport", b"", "topics.unfollow", {"topic": "news:sport"}),
    ],
)  # fmt: skip
async def test_each_path_calls_its_procedure(
    method: str, path: str, content: bytes, name: str, params: dict[str, Any]
) -> None:
    async with serving() as client:
        response = await client.request(method, "/v1/me" + path, content=content)
        assert response.status_code == 200
        assert response.json() == {"name": name, "user": "alice", "params": params}


async def test_a_name_in_the_path_cannot_be_overruled_by_the_body() -> None:
    async with serving() as client:
        response = await client.request("DELETE", "/v1/me/devices/d1", content=b'{"id":"d2"}')
        assert response.json()["params"] == {"id": "d1"}


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        ("Bearer unknown", 401),
        ("Bearer expired", 401),
        (f"Bearer {TICKET}x", 401),
        ("Bearer unchecked", 503),
    ],
)
async def test_without_a_good_token_nothing_is_called(authorization: str, status: int) -> None:
    async with serving() as client:
        response = await client.get("/v1/me/inbox", headers={"authorization": authorization})
        assert response.status_code == status


@pytest.mark.parametrize("content", [b"[1]", b"{", b"7", b'{"a":' * 33 + b"1" + b"}" * 33])
async def test_a_body_that_is_no_object_is_refused(content: bytes) -> None:
    async with serving() as client:
        response = await client.post("/v1/me/read", content=content)
        assert response.status_code == 400


async def test_a_large_body_is_refused() -> None:
    async with serving() as client:
        response = await client.post("/v1/me/read", content=b" " * (me.MAX_BODY + 1))
        assert response.status_code == 413


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (Wrong.BAD_PARAMS, 400),
        (Wrong.FORBIDDEN, 403),
        (Wrong.NOT_FOUND, 404),
        (Wrong.LIMIT, 403),
        (Wrong.BUSY, 429),
        (Wrong.NOT_CONFIGURED, 501),
        (Wrong.UNAVAILABLE, 503),
        (Wrong.UNKNOWN, 404),
    ],
)
async def test_each_fault_has_its_status(kind: Wrong, status: int) -> None:
    async with serving(Fault(kind, "why")) as client:
        response = await client.get("/v1/me/inbox")
        assert response.status_code == status
        assert response.json()["detail"] == "why"
        assert ("retry-after" in response.headers) == (status in (429, 503))


def test_every_fault_is_known_over_http() -> None:
    assert set(me.KINDS) == set(Wrong)


async def test_pages_of_other_sites_are_told_what_they_may_send() -> None:
    async with serving() as client:
        preflight = await client.options("/v1/me/preferences", headers={"origin": "https://app.example"})
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-methods"] == "GET, PATCH, OPTIONS"
        refused = await client.get("/v1/me/inbox", headers={"origin": "https://evil.example"})
        assert refused.status_code == 403
        wrong = await client.delete("/v1/me/inbox")
        assert wrong.status_code == 405


def test_every_path_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text()
    section = text[text.index("## `/v1/me/…`") : text.index("## `GET /sse`")]
    for path, methods in me.PATHS.items():
        assert path.replace(":path}", "}") in section
        assert all(f"`{name}`" in section for name in methods.values())
    assert f"at most {MOST} of these" in section
