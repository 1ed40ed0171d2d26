"""One-click unsubscribing: a POST does it at once, and a GET never does anything (RFC 8058)."""

from __future__ import annotations

import base64
import re
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest

from bus.keys import Keys
from bus.people.preferences import Preferences
from bus.people.profile import Profile
from bus.people.unsubscribe import make
from bus.people.vault import unsubscribe_secret
from tests.bus.holding_proxy import holding_proxy
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import Api
from tests.gateway.everything import everything
from tests.servers import RedisSite

KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
SECRET = unsubscribe_secret(KEY)
KEYED: dict[str, Any] = {
    "directory_keys": (f"k:{KEY}",),
    "directory_index_key": KEY,
    "categories": {"news": {"title": 'News & "more" <b>'}, "account": {"required": True}},
}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def link(user: str = "alice", category: str = "news", channel: str = "email") -> str:
    return "/u/" + make(SECRET, user, category, channel)


async def click(api: Api, path: str, **more: Any) -> httpx.Response:
    return await api.client.post(path, **({"data": ONE_CLICK} | more))


async def chosen(api: Api, user: str = "alice") -> Preferences:
    return await api.parts.people.directory.preferences(user)


class Page(HTMLParser):
    """What a page has that matters to people and machines."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def test_a_post_unsubscribes_at_once(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        await api.parts.people.directory.put("alice", Profile(name="A"))
        answer = await click(api, link())
        assert answer.status_code == 200
        assert "unsubscribed" in answer.text
        assert await chosen(api) == Preferences(categories={"news": {"email": False}})
        assert (await click(api, link())).status_code == 200
        await click(api, link(category="", channel="sms"))
        assert await chosen(api) == Preferences(categories={"news": {"email": False}, "": {"sms": False}})


async def test_both_kinds_of_forms_and_no_others(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        await api.parts.people.directory.put("alice", Profile(name="A"))
        for more in (
            {"data": {"List-Unsubscribe": "Yes"}},
            {"data": {}},
            {"data": None, "content": b"One-Click"},
            {"data": None, "content": b"\xff\xfe"},
            {"data": None, "json": ONE_CLICK},
            {"data": {"List-Unsubscribe": ["One-Click", "x"]}},
        ):
            answer = await click(api, link(), **more)
            assert answer.status_code == 400
            assert Page(answer.text).named("button")
        assert (await click(api, link(), data=None, content=b"x" * 5_000)).status_code == 413
        assert await chosen(api) == Preferences()
        assert (await click(api, link(), data=None, files={"List-Unsubscribe": (None, "One-Click")})).status_code == 200
        assert await chosen(api) == Preferences(categories={"news": {"email": False}})


async def test_a_get_never_unsubscribes(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        await api.parts.people.directory.put("alice", Profile(name="A"))
        before = await everything(api.pipe, api.keys)
        for method in ("GET", "HEAD"):
            for query in ("", "?List-Unsubscribe=One-Click"):
                assert (await api.client.request(method, link() + query)).status_code == 200
        assert await everything(api.pipe, api.keys) == before


async def test_the_page_is_for_everybody_and_loads_nothing(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        answer = await api.client.get(link())
        page = Page(answer.text)
        assert page.named("html") == [{"lang": "en"}]
        assert len(page.named("main")) == len(page.named("h1")) == len(page.named("title")) == 1
        assert (page.named("form"), page.named("button")) == ([{"method": "post"}], [{"type": "submit"}])
        assert page.named("input") == [{"type": "hidden", "name": "List-Unsubscribe", "value": "One-Click"}]
        assert 'News & "more" <b>' in page.words
        assert not [tag for tag, _ in page.tags if tag in ("script", "img", "link", "a", "iframe", "b")]
        assert "alice" not in answer.text
        policy = answer.headers["content-security-policy"]
        style = re.search(r"<style>(.*)</style>", answer.text)
        assert style is not None
        digest = base64.b64encode(sha256(style[1].encode()).digest()).decode()
        assert policy == (
            f"default-src 'none'; style-src 'sha256-{digest}'; "
            "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        )
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("token", ["x", "A" * 60, make(b"o" * 32, "alice", "news", "email")])
async def test_a_link_that_is_none_of_ours(open_api: OpenApi, token: str) -> None:
    async with open_api(**KEYED) as api:
        for answer in (await api.client.get(f"/u/{token}"), await click(api, f"/u/{token}")):
            assert answer.status_code == 404
            assert Page(answer.text).named("button") == []
        assert await everything(api.pipe, api.keys) == {}


async def test_without_keys_there_is_no_link_of_ours(open_api: OpenApi) -> None:
    async with open_api() as api:
        assert (await click(api, link())).status_code == 404


async def test_what_is_required_cannot_be_turned_off(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        await api.parts.people.directory.put("alice", Profile(name="A"))
        for answer in (await api.client.get(link(category="account")), await click(api, link(category="account"))):
            assert answer.status_code == 200
            assert "cannot be turned off" in answer.text
        assert await chosen(api) == Preferences()


async def test_who_was_erased_is_not_remembered_because_of_an_old_mail(open_api: OpenApi) -> None:
    async with open_api(**KEYED) as api:
        assert (await click(api, link("nobody"))).status_code == 200
        assert await everything(api.pipe, api.keys) == {}


@pytest.mark.one_server
async def test_when_redis_is_away(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys, **KEYED) as api:
        await api.cut_off(proxy)
        answer = await click(api, link())
        assert answer.status_code == 503
        assert "try again" in answer.text
        assert (await api.client.get(link())).status_code == 200
