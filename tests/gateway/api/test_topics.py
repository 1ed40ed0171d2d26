"""`/v1/topics/{topic}/members`: one by one, ten thousand at once, and page by page."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest

from gateway.api.topics import MAX_BULK
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import KEY, OPS_KEY, Api
from tests.gateway.everything import everything


async def ask(
    api: Api, method: str, rest: str = "", body: Any = None, key: str = OPS_KEY, topic: str = "n:a"
) -> httpx.Response:
    given = {"json": body} if body is not None else {}
    path = f"/v1/topics/{quote(topic, safe='')}/members{rest}"
    return await api.client.request(method, path, headers={"x-api-key": key}, **given)


async def test_one_by_one(open_api: OpenApi) -> None:
    async with open_api() as api:
        for _ in range(2):
            assert (await ask(api, "PUT", "/alice")).status_code == 204
        await ask(api, "PUT", "/" + quote("b/ü", safe=""))
        found = (await ask(api, "GET")).json()
        assert (sorted(found["members"]), found["next"], found["total"]) == (["alice", "b/ü"], None, 2)
        assert (await ask(api, "DELETE", "/alice")).status_code == 204
        assert (await ask(api, "DELETE", "/" + quote("b/ü", safe=""))).status_code == 204
        assert await everything(api.pipe, api.keys) == {}


async def test_ten_thousand_at_once(open_api: OpenApi) -> None:
    users = [f"user-{number:05}" for number in range(10_000)]
    async with open_api() as api:
        added = await ask(api, "POST", body={"add": users})
        assert added.json() == {"added": 10_000, "already": 0, "removed": 0, "absent": 0}
        both = await ask(api, "POST", body={"add": [*users[5_000:], "new", "new"], "remove": ["nobody", *users[:100]]})
        assert both.json() == {"added": 1, "already": 5_000, "removed": 100, "absent": 1}
        found: list[str] = []
        query = "?limit=999"
        while True:
            page = (await ask(api, "GET", query)).json()
            assert page["total"] == 9_901
            found += page["members"]
            if page["next"] is None:
                break
            query = f"?limit=999&cursor={quote(page['next'], safe='')}"
        assert sorted(found) == sorted([*users[100:], "new"])


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, [""]),
        ([], [""]),
        ({"users": []}, [""]),
        ({"add": "alice"}, ["/add"]),
        ({"add": ["alice", "", 7], "remove": {}}, ["/add/1", "/add/2", "/remove"]),
        ({"add": [" "] * 50}, [f"/add/{i}" for i in range(10)]),
        ({"add": ["a"], "remove": ["a"]}, [""]),
        ({"add": ["a"] * (MAX_BULK + 1)}, [""]),
    ],
)
async def test_a_wrong_request_changes_nothing(open_api: OpenApi, body: Any, pointers: list[str]) -> None:
    async with open_api() as api:
        answer = await ask(api, "POST", body=body)
        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        assert await everything(api.pipe, api.keys) == {}


async def test_names_and_pages_that_are_none(open_api: OpenApi) -> None:
    async with open_api() as api:
        for topic in ("@alice", "no-namespace", "n:*", "x" * 300):
            assert (await ask(api, "PUT", "/alice", topic=topic)).status_code == 400
            assert (await ask(api, "GET", topic=topic)).status_code == 400
        assert (await ask(api, "PUT", "/%20")).status_code == 400
        for query in ("?limit=0", "?limit=1001", "?limit=x", "?limit=-1", "?limit=99999999999999999999", "?cursor=x"):
            assert (await ask(api, "GET", query)).status_code == 400


async def test_only_a_key_with_the_scope_may(open_api: OpenApi) -> None:
    async with open_api() as api:
        for method, rest, body in (
            ("GET", "", None),
            ("POST", "", {"add": ["a"]}),
            ("PUT", "/a", None),
            ("DELETE", "/a", None),
        ):
            assert (await ask(api, method, rest, body, key=KEY)).status_code == 403
            assert (await ask(api, method, rest, body, key="unknown")).status_code == 401
        assert await everything(api.pipe, api.keys) == {}
