"""`/v1/tokens`, `/v1/users/…/disconnect`, `/v1/namespaces`: what they take, refuse, and answer."""

from __future__ import annotations

from typing import Any

import httpx
import orjson
import pytest

from bus.clock import SystemClock
from gateway.revocation import Dismissal, Token, User
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import KEY, OPS_KEY, Api

NEWS = {"news": {"subscribe": "user", "history_size": 7}}


async def ask(api: Api, method: str, path: str, body: Any = None, key: str = OPS_KEY) -> httpx.Response:
    content = None if body is None else orjson.dumps(body)
    return await api.client.request(method, path, content=content, headers={"x-api-key": key})


def rules_of(response: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = response.json()["rules"]
    return found


async def test_tokens_and_users_are_revoked_and_shown(open_api: OpenApi) -> None:
    async with open_api(token_lifetime=3_600.0, token_leeway=0.0) as api:
        before = SystemClock().wall()
        answer = (await ask(api, "POST", "/v1/tokens/revoke", {"jti": "j:1"})).json()["revoked"]
        assert answer["jti"] == "j:1"
        answer = (await ask(api, "POST", "/v1/tokens/revoke", {"user": "alice"})).json()["revoked"]
        assert before <= answer["issued_before"] <= SystemClock().wall()
        earlier = await ask(api, "POST", "/v1/tokens/revoke", {"user": "alice", "issued_before": 5})
        assert earlier.json()["revoked"]["issued_before"] == answer["issued_before"]  # the later one holds
        await ask(api, "POST", "/v1/tokens/revoke", {"user": "bob", "issued_before": 1_000})
        shown = (await ask(api, "GET", "/v1/tokens/revoked")).json()
        assert [one.get("jti") or one["user"] for one in shown["revoked"]] == ["bob", "alice", "j:1"]
        assert not shown["more"]
        shown = (await ask(api, "GET", "/v1/tokens/revoked?limit=1")).json()
        assert ([one["user"] for one in shown["revoked"]], shown["more"]) == (["bob"], True)
        named = (await ask(api, "GET", "/v1/tokens/revoked?user=bob&jti=j:1")).json()["revoked"]
        assert [one.get("jti") or one["user"] for one in named] == ["j:1", "bob"]
        assert (await ask(api, "GET", "/v1/tokens/revoked?user=nobody")).json() == {"revoked": [], "more": False}
        assert [type(order) for order in api.orders] == [Token, User, User]
        names = (api.keys.revoked, api.keys.revoked_until, api.keys.revoked_version)
        for ttl in [await api.pipe.ask("PTTL", name) for name in names]:
            assert 3_590_000 < ttl <= 3_600_000


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"jti": ""},
        {"jti": 1},
        {"jti": "x" * 257},
        {"jti": "a", "user": "alice"},
        {"user": ""},
        {"user": 7},
        {"user": "a\n"},
        {"user": "alice", "issued_before": "now"},
        {"user": "alice", "issued_before": True},
        {"user": "alice", "issued_before": -1},
        {"user": "alice", "issued_before": 4e9},
        {"user": "alice", "before": 1},
        {"token": "eyJ"},
    ],
)
async def test_what_revokes_nothing_is_refused(open_api: OpenApi, body: Any) -> None:
    async with open_api() as api:
        response = await ask(api, "POST", "/v1/tokens/revoke", body)
        assert response.status_code == 400
        assert response.json()["errors"][0]["message"]
        assert api.orders == []


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "name=a"])
async def test_a_list_has_its_limits(open_api: OpenApi, query: str) -> None:
    async with open_api() as api:
        assert (await ask(api, "GET", f"/v1/tokens/revoked?{query}")).status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 3503),
        ({"reconnect": True}, 3011),
        ({"reconnect": False}, 3503),
        ({"code": 3500}, 3500),
        ({"code": 3001}, 3001),
    ],
)
async def test_a_user_is_sent_away(open_api: OpenApi, body: Any, code: int) -> None:
    async with open_api() as api:
        response = await ask(api, "POST", "/v1/users/a%2Fb/disconnect", body)
        assert response.json() == {"user": "a/b", "code": code}
        (order,) = api.orders
        assert isinstance(order, Dismissal)
        assert (order.user, order.code) == ("a/b", code)
        assert (await ask(api, "GET", "/v1/tokens/revoked")).json()["revoked"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"code": 1000},
        {"code": "3001"},
        {"code": True},
        {"reconnect": 1},
        {"why": "x"},
        {"code": 3500, "reconnect": True},
    ],
)
async def test_a_code_that_is_none_of_ours_is_refused(open_api: OpenApi, body: Any) -> None:
    async with open_api() as api:
        assert (await ask(api, "POST", "/v1/users/alice/disconnect", body)).status_code == 400
        assert api.orders == []


async def test_rules_are_shown_changed_and_put_back(open_api: OpenApi) -> None:
    async with open_api(namespaces=NEWS) as api:
        first = (await ask(api, "GET", "/v1/namespaces")).json()["namespaces"]
        assert [(one["name"], one["stored"]) for one in first] == [("*", False), ("news", False)]
        changed = await ask(api, "PUT", "/v1/namespaces/news", {"subscribe": "token", "history_size": 3})
        assert changed.json()["stored"]
        assert (rules_of(changed)["subscribe"], rules_of(changed)["history_size"]) == ("token", 3)
        assert rules_of(await ask(api, "GET", "/v1/namespaces/news")) == rules_of(changed)
        star = await ask(api, "PUT", "/v1/namespaces/%2A", {"presence": "user"})
        assert star.json()["name"] == "*"
        assert rules_of(await ask(api, "GET", "/v1/namespaces/other"))["presence"] == "user"
        assert rules_of(await ask(api, "GET", "/v1/namespaces/news"))["presence"] == "user"
        for name in ("news", "*"):
            assert (await ask(api, "DELETE", f"/v1/namespaces/{name}")).status_code == 204
            assert (await ask(api, "DELETE", f"/v1/namespaces/{name}")).status_code == 404
        assert (await ask(api, "GET", "/v1/namespaces")).json()["namespaces"] == first
        assert await api.pipe.ask("EXISTS", api.keys.rules, api.keys.rules_version) == 0


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("news", {"colour": "red"}, "has no rule colour"),
        ("news", {"subscribe": "subscriber"}, "which nobody is before"),
        ("news", {"history_size": -1}, "must not be negative"),
        ("a%3Ab", {}, "must not contain a colon"),
        ("%40a", {}, "must not begin with @"),
    ],
)
async def test_rules_are_checked_as_in_the_file(open_api: OpenApi, name: str, body: Any, says: str) -> None:
    async with open_api() as api:
        response = await ask(api, "PUT", f"/v1/namespaces/{name}", body)
        assert response.status_code == 400
        assert says in response.text
        assert (await ask(api, "GET", f"/v1/namespaces/{name}")).status_code == (400 if "%" in name else 200)
        assert (await ask(api, "DELETE", f"/v1/namespaces/{name}")).status_code == (400 if "%" in name else 404)


async def test_there_are_never_too_many(open_api: OpenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bus.stored_rules.MOST", 1)
    async with open_api(revocations=1) as api:
        assert (await ask(api, "POST", "/v1/tokens/revoke", {"jti": "a"})).status_code == 200
        assert (await ask(api, "POST", "/v1/tokens/revoke", {"jti": "a"})).status_code == 200
        full = [
            await ask(api, "POST", "/v1/tokens/revoke", {"jti": "b"}),
            await ask(api, "POST", "/v1/users/alice/disconnect", {}),
        ]
        assert (await ask(api, "PUT", "/v1/namespaces/a", {})).status_code == 200
        full.append(await ask(api, "PUT", "/v1/namespaces/b", {}))
        assert [(one.status_code, one.headers["retry-after"]) for one in full] == [(503, "60")] * 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/tokens/revoke"),
        ("GET", "/v1/tokens/revoked"),
        ("POST", "/v1/users/alice/disconnect"),
        ("GET", "/v1/namespaces"),
        ("GET", "/v1/namespaces/news"),
        ("PUT", "/v1/namespaces/news"),
        ("DELETE", "/v1/namespaces/news"),
    ],
)
async def test_only_operators_may(open_api: OpenApi, method: str, path: str) -> None:
    async with open_api() as api:
        assert (await ask(api, method, path, {}, key=KEY)).status_code == 403
        assert (await ask(api, method, path, {}, key="unknown")).status_code == 401
