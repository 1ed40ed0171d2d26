"""The pretend phone: a real subscription, read as a browser reads, and shown as a phone shows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import open_pipe
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from starlette.applications import Starlette

from bus import ece
from bus.clock import SystemClock
from bus.event import Event
from bus.keys import Keys
from bus.outcome import Done, Gone
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.vapid import Vapid, generate
from fanout.channels.webpush import WebPush
from gateway.api import dev_phone
from gateway.api.dev_phone import KEPT, Phone, origin_of
from gateway.settings import GatewaySettings
from tests.servers import RedisSite
from tests.system import system

SETTINGS = GatewaySettings(dev=True, token_secret="s" * 32)
PAGE = "http://127.0.0.1:8000"
NAMES = ["alice", "a/b", "älice ☎", "x%2Fy"]


@asynccontextmanager
async def served(redis: RedisSite, keys: Keys) -> AsyncIterator[httpx.AsyncClient]:
    async with asyncio.timeout(60), open_pipe(redis.url) as pipe:
        app = Starlette(routes=dev_phone.routes(SETTINGS, SystemClock(), pipe, keys))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client:
            yield client


def path(user: str) -> str:
    return f"/dev/phone/{httpx.QueryParams({'u': user})}".replace("u=", "").replace("+", "%20")


class Sender:
    """Pushes by hand, so that each part of one can be wrong."""

    def __init__(self, client: httpx.AsyncClient, subscription: dict[str, Any]) -> None:
        self._client, self.endpoint = client, subscription["endpoint"]
        to = ece.receiver(**subscription["keys"])
        assert isinstance(to, ece.Receiver)
        self._to = to
        vapid = Vapid.of(generate()[0], "mailto:ops@shop.example")
        assert isinstance(vapid, Vapid)
        self._vapid = vapid

    async def push(self, said: Any, *, raw: bytes | None = None, aud: str = PAGE, **headers: str | None) -> int:
        plain = json.dumps(said).encode()
        body = ece.encrypt(plain, self._to, key=generate_private_key(SECP256R1()), salt=b"s" * 16)
        sent = {
            "authorization": self._vapid.authorization(aud, SystemClock().wall()),
            "ttl": "60",
            "content-encoding": "aes128gcm",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        kept = {name: value for name, value in sent.items() if value is not None}
        assert isinstance(body, bytes)
        answer = await self._client.post(self.endpoint, content=body if raw is None else raw, headers=kept)
        return answer.status_code


async def items(client: httpx.AsyncClient, user: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await client.get(path(user))).json()["items"]
    return found


@pytest.mark.parametrize("user", NAMES)
async def test_everyone_has_one_phone(redis_server: RedisSite, keys: Keys, user: str) -> None:
    async with served(redis_server, keys) as client:
        first, again = await client.post(path(user)), await client.post(path(user))
        assert (first.status_code, first.json()) == (201, again.json())
        assert (await client.post(path("somebody else"))).json()["keys"] != first.json()["keys"]
        sender = Sender(client, first.json())
        assert await sender.push({"id": "e1", "tag": "t", "title": "Hello", "body": "World"}) == 201
        [item] = await items(client, user)
        assert item.pop("at") == pytest.approx(SystemClock().wall(), abs=60)
        assert item == {"id": "e1", "tag": "t", "title": "Hello", "body": "World", "withdrawn": False}


async def test_a_tag_is_one_item_and_a_withdrawal_marks_its_own(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        sender = Sender(client, (await client.post(path("alice"))).json())
        for said in (
            {"id": "e1", "tag": "score", "title": "1:0"},
            {"id": "e2", "tag": "mail", "title": "Post"},
            {"id": "e3", "tag": "score", "title": "2:0", "data": {"empty": [], "n": 2**53 + 1}},
            {"withdrawn": "e1", "tag": "score"},  # the one it was is not there any more
            {"withdrawn": "e2", "tag": "mail"},
            {"withdrawn": "e9", "tag": "never"},
            {"id": "e4", "tag": "big", "thin": True},
        ):
            assert await sender.push(said) == 201
        found = await items(client, "alice")
        assert [(item["id"], item["title"], item["withdrawn"]) for item in found] == [
            ("e3", "2:0", False),
            ("e2", "Post", True),
            ("e4", "You have a notification", False),
        ]
        assert found[0]["data"] == {"empty": [], "n": 2**53 + 1}


async def test_a_screen_has_an_end(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        sender = Sender(client, (await client.post(path("alice"))).json())
        for n in range(KEPT + 3):
            assert await sender.push({"id": f"e{n}", "tag": f"t{n}", "title": str(n)}) == 201
        assert [item["title"] for item in await items(client, "alice")] == [str(n) for n in range(3, KEPT + 3)]


async def test_what_is_no_push_is_refused(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        sender = Sender(client, (await client.post(path("alice"))).json())
        said = {"id": "e1", "tag": "t"}
        assert await sender.push(said, authorization=None) == 403
        assert await sender.push(said, authorization="vapid t=x, k=x") == 403
        assert await sender.push(said, aud="https://push.example") == 403
        assert await sender.push(said, ttl=None) == 400
        assert await sender.push(said, content_encoding="aesgcm") == 400
        assert await sender.push(said, raw=b"x" * 200) == 400
        assert await sender.push(said, raw=b"x" * 5_000) == 413
        for nothing in (
            "text",
            {},
            {"tag": "t"},
            {"id": "e1"},
            {"id": "a\nb", "tag": "t"},
            {"withdrawn": 1, "tag": "t"},
        ):
            assert await sender.push(nothing) == 400
        sender.endpoint = sender.endpoint[:-1]
        assert await sender.push(said) == 404
        assert await items(client, "alice") == []
        assert (await client.post(path(" "))).status_code == 400
        assert (await client.get(path("\x07"))).status_code == 400


async def test_no_other_page_may_ask(redis_server: RedisSite, keys: Keys) -> None:
    async with served(redis_server, keys) as client:
        for method in ("GET", "POST"):
            answer = await client.request(method, path("alice"), headers={"origin": "https://evil.example"})
            assert answer.status_code == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1", "http://127.0.0.1:7"),
        ("0.0.0.0", "http://127.0.0.1:7"),
        ("::", "http://[::1]:7"),
        ("::1", "http://[::1]:7"),
        ("localhost", "http://localhost:7"),
    ],
)
def test_where_the_phone_is_rung(host: str, origin: str) -> None:
    assert origin_of(GatewaySettings(host=host, port=7)) == origin
    subscription = Phone.of("a/b", "s").subscription("a/b", origin)
    assert subscription["endpoint"].startswith(f"{origin}/dev/push/a%2Fb/")


@pytest.mark.slow
async def test_our_own_sender_rings_it(tmp_path: Path) -> None:
    clock = SystemClock()
    table = {"vapid_key": generate()[0], "subject": "mailto:ops@shop.example", "hosts": ["127.0.0.1"]}
    made = WebPush.from_settings("dev", table, clock, allow_private=True)
    with system(tmp_path, dev="true") as running:
        async with asyncio.timeout(60), httpx.AsyncClient(base_url=running.gateways[0].origin) as client:
            subscription = (await client.post(path("älice"))).json()
            event = Event(id="e1", source="shop", type="note", created_at=clock.wall())
            target = PushTarget("d1", "webpush", subscription["endpoint"], subscription["keys"])
            one = Delivery("0" * 32, "push", "älice", target, Push("Hello", "World", "https://shop.example/"), event)
            assert await made.send(one) == Done()
            [shown] = await items(client, "älice")
            assert (shown["title"], shown["url"], shown["withdrawn"]) == ("Hello", "https://shop.example/", False)
            assert await made.send(replace(one, message=Push("", "", withdrawn=True))) == Done()
            assert [item["withdrawn"] for item in await items(client, "älice")] == [True]
            nobody = replace(target, target=subscription["endpoint"][:-3])
            assert isinstance(await made.send(replace(one, target=nobody)), Gone)
        await made.close()
