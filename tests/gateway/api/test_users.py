"""`/v1/users/…`: profiles, lookups, preferences, devices and topics, for those who have the scope and nobody else."""

from __future__ import annotations

import base64
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from bus.keys import Keys
from tests.bus.holding_proxy import holding_proxy
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import KEY, OPS_KEY, Api, api_keys
from tests.gateway.everything import everything
from tests.servers import RedisSite

DIRECTORY_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
KEYED: dict[str, Any] = {"directory_keys": (f"k:{DIRECTORY_KEY}",), "directory_index_key": DIRECTORY_KEY}
CATEGORIES: dict[str, Any] = {"security": {"required": True}, "news": {"title": "News"}}
CONTACTS_KEY = "contacts-key-012345"
ALICE: dict[str, Any] = {
    "name": "Alice",
    "locale": "de",
    "timezone": "Europe/Berlin",
    "data": {"plan": "gold"},
    "email": "alice@example.com",
    "phone": "+4930123456",
    "webhook": {"url": "https://alice.example/hook/secret-path"},
}
MASKED = {"email": "a…@example.com", "phone": "+49…56", "webhook": {"url": "https://alice.example/…"}}
POINT = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
KEYS = {"p256dh": POINT, "auth": "BTBZMqHH6r4Tts7J_aSIgg"}
BROWSER = {"provider": "webpush", "target": "https://push.example/1", "keys": KEYS}


def keyed(open_api: OpenApi, **more: Any) -> Any:
    """An installation with directory keys, and a key that may see contacts."""
    known = api_keys() | {
        "support": {"sha256": sha256(CONTACTS_KEY.encode()).hexdigest(), "scopes": ["admin", "contacts"]}
    }
    return open_api(**{"api_keys": known, "categories": CATEGORIES, **KEYED, **more})


async def ask(api: Api, method: str, path: str, body: Any = None, key: str = OPS_KEY, **more: Any) -> httpx.Response:
    given = {"json": body} if body is not None else {}
    return await api.client.request(method, f"/v1/users{path}", headers={"x-api-key": key}, **given, **more)


async def test_a_profile_is_stored_and_shown_masked(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        assert (await ask(api, "GET", "/alice")).status_code == 404
        stored = await ask(api, "PUT", "/alice", ALICE)
        assert stored.status_code == 200
        told = stored.json()
        secret = told["webhook"].pop("secret")
        assert secret.startswith("whsec_")
        assert told == ALICE | MASKED | {"id": "alice"}
        shown = await ask(api, "GET", "/alice")
        assert (shown.status_code, shown.json()) == (200, ALICE | MASKED | {"id": "alice"})
        dump = b" ".join((await everything(api.pipe, api.keys)).values())
        for private in (b"example.com", b"4930123456", b"secret-path", secret.encode()):
            assert private not in dump


async def test_contacts_in_the_clear_need_a_scope_of_their_own(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PUT", "/alice", ALICE)
        assert (await ask(api, "GET", "/alice?contacts=plain")).status_code == 403
        plain = await ask(api, "GET", "/alice?contacts=plain", key=CONTACTS_KEY)
        assert plain.json() == ALICE | {"id": "alice"}
        assert (await ask(api, "GET", "/alice", key=CONTACTS_KEY)).json()["email"] == MASKED["email"]


async def test_the_secret_of_a_webhook_is_shown_once_and_kept(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        secret = (await ask(api, "PUT", "/alice", ALICE)).json()["webhook"]["secret"]

        async def kept() -> str:
            known = await api.parts.people.directory.get("alice")
            assert known is not None
            assert known.profile.contacts.webhook is not None
            return known.profile.contacts.webhook.secret

        assert await kept() == secret
        assert "secret" not in (await ask(api, "PUT", "/alice", ALICE)).json()["webhook"]
        assert "secret" not in (await ask(api, "PATCH", "/alice", {"name": "A"})).json()["webhook"]
        assert await kept() == secret
        moved = await ask(api, "PUT", "/alice", {"webhook": {"url": "https://elsewhere.example"}})
        assert moved.json()["webhook"]["secret"] == await kept() != secret
        own = "whsec_" + base64.b64encode(b"o" * 24).decode()
        given = await ask(api, "PATCH", "/alice", {"webhook": {"secret": own}})
        assert given.json()["webhook"] == {"url": "https://elsewhere.example/…"}
        assert await kept() == own


async def test_a_patch_changes_what_it_names(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PATCH", "/alice", {"name": "Alice", "email": "alice@example.com"})
        changed = await ask(api, "PATCH", "/alice", {"name": None, "phone": "+4930123456", "data": {"a": 1}})
        assert changed.json() == {"id": "alice", "data": {"a": 1}, "email": "a…@example.com", "phone": "+49…56"}
        assert (await ask(api, "GET", "?phone=%2B4930123456")).json() == {"users": ["alice"]}


async def test_a_body_that_nests_too_deep_is_refused(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        deep = b'{"data":' * 1_000 + b"1" + b"}" * 1_000
        for path, method in (("/alice", "PATCH"), ("/alice", "PUT"), ("/alice/preferences", "PATCH")):
            answer = await ask(api, method, path, content=deep)
            assert answer.status_code == 400, (method, path)


async def test_an_address_where_nobody_is_is_shown_as_gone(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PUT", "/alice", ALICE)
        profile = api.keys.profile("alice")
        await api.pipe.ask("HSET", profile, "gone_email", await api.pipe.ask("HGET", profile, "email"))
        assert (await ask(api, "PATCH", "/alice", {"name": "A"})).json()["gone"] == ["email"]
        assert (await ask(api, "GET", "/alice")).json()["gone"] == ["email"]
        assert "gone" not in (await ask(api, "PATCH", "/alice", {"email": "new@example.com"})).json()


async def test_people_are_found_by_their_addresses(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PUT", "/alice", ALICE)
        assert (await ask(api, "GET", "?email=ALICE@example.com")).json() == {"users": ["alice"]}
        assert (await ask(api, "GET", "?phone=%2B4930123456")).json() == {"users": ["alice"]}
        assert (await ask(api, "GET", "?email=bob@example.com")).json() == {"users": []}
        for query in ("", "?email=a@b.example&phone=%2B4930123456", "?name=Alice", "?email=", "?phone=+4930123456"):
            answer = await ask(api, "GET", query)
            assert answer.status_code == 400
            assert "4930123456" not in answer.text


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"email": "a…@example.com"}, ["/email"]),
        ({"email": "x", "phone": "y", "locale": "?"}, ["/locale", "/email", "/phone"]),
        ({"e-mail": "a@b.example"}, [""]),
        ([], [""]),
        ("alice", [""]),
    ],
)
async def test_a_wrong_profile_is_refused_whole(open_api: OpenApi, body: Any, pointers: list[str]) -> None:
    async with keyed(open_api) as api:
        for method in ("PUT", "PATCH"):
            answer = await ask(api, method, "/alice", body)
            assert answer.status_code == 400
            assert [error["pointer"] for error in answer.json()["errors"]] == pointers
        assert (await ask(api, "GET", "/alice")).status_code == 404


async def test_bodies_that_are_none(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        for content, status in ((b"", 400), (b"{", 400), (b"\xff", 400), (b"x" * 70_000, 413)):
            answer = await api.client.put("/v1/users/alice", content=content, headers={"x-api-key": OPS_KEY})
            assert answer.status_code == status


async def test_names_with_every_character(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        for user in ("a/preferences", "ü%2F", "a b", "..", "?x#y", "a+b@c"):
            path = "/" + quote(user, safe="").replace(".", "%2E")
            assert (await ask(api, "PUT", path, {"name": "N"})).json()["id"] == user
            assert (await ask(api, "GET", path)).json() == {"id": user, "name": "N"}
        assert (await ask(api, "GET", "/a")).status_code == 404
        for path in ("/%00", "/%20a", "/" + "x" * 129):
            assert (await ask(api, "GET", path)).status_code == 400
        assert (await ask(api, "GET", "/%ff")).status_code == 404


async def test_only_a_key_with_the_scope_may(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        asked = [("GET", "?email=a@b.example"), ("GET", "/a"), ("PUT", "/a"), ("PATCH", "/a"), ("DELETE", "/a")]
        asked += [(method, "/a/preferences") for method in ("GET", "PUT", "PATCH")]
        asked += [("GET", "/a/devices"), ("POST", "/a/devices"), ("DELETE", "/a/devices/x")]
        asked += [("GET", "/a/topics"), ("PUT", "/a/topics")]
        for method, path in asked:
            body = {} if method in ("PUT", "PATCH", "POST") else None
            assert (await ask(api, method, path, body, key=KEY)).status_code == 403
            assert (await ask(api, method, path, body, key="unknown")).status_code == 401
        assert (await ask(api, "POST", "/a", {})).status_code == 405
        assert await everything(api.pipe, api.keys) == {}


async def test_without_directory_keys_contacts_are_refused(open_api: OpenApi) -> None:
    async with open_api() as api:
        refused = [
            await ask(api, "PUT", "/alice", ALICE),
            await ask(api, "PATCH", "/alice", {"email": "a@b.example"}),
            await ask(api, "GET", "?email=a@b.example"),
            await ask(api, "POST", "/alice/devices", BROWSER),
        ]
        for answer in refused:
            assert answer.status_code == 501
            assert answer.json()["type"].endswith(":not-configured")
            assert "tocsin keys" in answer.json()["detail"]
        assert await everything(api.pipe, api.keys) == {}
        assert (await ask(api, "PUT", "/alice", {"name": "Alice"})).status_code == 200


async def test_contacts_that_cannot_be_opened(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PUT", "/alice", ALICE)
    other = base64.urlsafe_b64encode(b"o" * 32).decode()
    async with keyed(open_api, directory_keys=(f"o:{other}",)) as api:
        shown = (await ask(api, "GET", "/alice")).json()
        assert shown["unreadable"] == ["email", "phone", "webhook"]
        assert "email" not in shown
        refused = await ask(api, "PATCH", "/alice", {"name": "A"})
        assert refused.status_code == 400
        assert (await ask(api, "PUT", "/alice", {"name": "A"})).json() == {"id": "alice", "name": "A"}


async def test_preferences(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        path = "/alice/preferences"
        empty = (await ask(api, "GET", path)).json()
        assert (empty["preferences"], [c["name"] for c in empty["categories"]]) == ({}, ["security", "news"])
        put = await ask(api, "PUT", path, {"locale": "de", "categories": {"news": {"email": False}}})
        assert put.json()["categories"][1]["channels"]["email"] == {"on": False, "locked": False}
        patched = await ask(api, "PATCH", path, {"locale": None, "channels": {"sms": False}})
        assert patched.json()["preferences"] == {"channels": {"sms": False}, "categories": {"news": {"email": False}}}
        assert (await ask(api, "GET", path)).json() == patched.json()
        for body, pointer in (
            ({"timezone": "Mars/Olympus"}, "/timezone"),
            ({"categories": {"security": False}}, "/categories"),
            ({"mood": 1}, ""),
        ):
            for method in ("PUT", "PATCH"):
                answer = await ask(api, method, path, body)
                assert answer.status_code == 400
                assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert (await ask(api, "GET", path)).json() == patched.json()


async def test_devices(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        path = "/alice/devices"
        added = await ask(api, "POST", path, BROWSER)
        assert added.status_code == 201
        device = added.json()["device"]
        assert (device["provider"], device["state"], device["failures"]) == ("webpush", "active", 0)
        assert "push.example" not in added.text
        assert (await ask(api, "GET", path)).json() == {"devices": [device]}
        wrong = await ask(api, "POST", path, BROWSER | {"target": "http://push.example"})
        assert [error["pointer"] for error in wrong.json()["errors"]] == ["/target"]
        assert (await ask(api, "DELETE", f"{path}/{device['id']}")).status_code == 204
        assert (await ask(api, "DELETE", f"{path}/{device['id']}")).status_code == 404
        assert (await ask(api, "GET", path)).json() == {"devices": []}


async def test_topics(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        path = "/alice/topics"
        assert (await ask(api, "GET", path)).json() == {"topics": []}
        assert (await ask(api, "PUT", path, {"topics": ["n:b", "n:a", "n:b"]})).json() == {"topics": ["n:a", "n:b"]}
        assert (await ask(api, "PUT", path, {"topics": ["n:b", "n:c"]})).json() == {"topics": ["n:b", "n:c"]}
        assert (await ask(api, "GET", path)).json() == {"topics": ["n:b", "n:c"]}
        for body in ({}, {"topics": "n:a"}, {"topics": ["@bob"]}, {"topics": [], "x": 1}, {"topics": ["n:a"] * 1001}):
            assert (await ask(api, "PUT", path, body)).status_code == 400
        assert (await ask(api, "GET", path)).json() == {"topics": ["n:b", "n:c"]}


async def test_a_person_is_erased_and_may_be_so_again(open_api: OpenApi) -> None:
    async with keyed(open_api) as api:
        await ask(api, "PUT", "/alice", ALICE)
        await ask(api, "PUT", "/alice/preferences", {"locale": "de"})
        await ask(api, "POST", "/alice/devices", BROWSER)
        await ask(api, "PUT", "/alice/topics", {"topics": ["n:a"]})
        for _ in range(2):
            assert (await ask(api, "DELETE", "/alice")).status_code == 204
            assert await everything(api.pipe, api.keys) == {}
        assert (await ask(api, "GET", "/alice")).status_code == 404


@pytest.mark.one_server
async def test_when_redis_is_away(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys, **KEYED) as api:
        await api.cut_off(proxy)
        for method, path, body in (
            ("GET", "/alice", None),
            ("PUT", "/alice", ALICE),
            ("DELETE", "/alice", None),
            ("PUT", "/alice/preferences", {}),
            ("GET", "?email=a@b.example", None),
        ):
            answer = await ask(api, method, path, body)
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
