"""The development mailbox: what a mail looks like in it, that it keeps the newest, and what its endpoint says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.applications import Starlette

from bus.clock import SystemClock
from bus.keys import Keys
from bus.outcome import Done, Retry
from bus.pipe import Pipe
from fanout.channels.delivery import Mail
from fanout.channels.email import Email
from gateway.api.dev_mailbox import routes
from gateway.settings import GatewaySettings
from tests.conftest import open_pipe
from tests.fanout.channels.contract import NOW, FixedClock
from tests.fanout.channels.test_email import delivery
from tests.servers import RedisSite
from tocsin.devconfig import dev_file
from tocsin.embedded import EmbeddedRedis
from tocsin.mailbox import KEPT, Handler, listen, mail_of

PAGE = "http://127.0.0.1:8000"


@asynccontextmanager
async def mailbox(url: str, keys: Keys) -> AsyncIterator[tuple[Email, httpx.AsyncClient, Pipe]]:
    """The mailbox, the sender that `tocsin dev` points at it, and the endpoint as the page sees it."""
    async with asyncio.timeout(20), open_pipe(url) as pipe:
        server = await listen(Handler(pipe, keys, FixedClock()), 0)
        table = dev_file({}, mailbox=server.sockets[0].getsockname()[1])["deliver"]["email"]["mailbox"]
        sender = Email.from_settings("mailbox", table, SystemClock(), allow_private=True)
        app = Starlette(routes=routes(GatewaySettings(dev=True), pipe, keys))
        try:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=PAGE) as client:
                yield sender, client, pipe
        finally:
            await sender.close()
            server.close()
            await server.wait_closed()


async def test_a_mail_that_was_sent_is_shown(redis_server: RedisSite, keys: Keys) -> None:
    async with mailbox(redis_server.url, keys) as (sender, client, _):
        assert (await client.get("/dev/mailbox")).json() == {"mails": []}
        sent = delivery("älice@example.org", message=Mail("Größe", "Text – hier", "<p>HTML – hier"), expires_at=None)
        assert await sender.send(sent) == Done()
        answer = await client.get("/dev/mailbox")
        assert answer.headers["cache-control"] == "no-store"
        (mail,) = answer.json()["mails"]
        assert mail.pop("id")
        headers = mail.pop("headers")
        assert mail == {
            "to": ["älice@example.org"],
            "subject": "Größe",
            "text": "Text – hier\n",
            "html": "<p>HTML – hier\n",
            "at": NOW,
        }
        assert headers["From"] == "Tocsin <tocsin@localhost>"
        assert headers["To"] == "Alice <älice@example.org>"
        assert headers["List-Unsubscribe"] == "<https://tocsin.example/u/token>"
        assert (await client.delete("/dev/mailbox")).status_code == 204
        assert (await client.get("/dev/mailbox")).json() == {"mails": []}


async def test_the_newest_are_kept_and_all_go_in_time(redis_server: RedisSite, keys: Keys) -> None:
    async with mailbox(redis_server.url, keys) as (sender, client, pipe):
        await pipe.ask("RPUSH", keys.mailbox, *(b'{"n":%d}' % n for n in range(KEPT)))
        assert await sender.send(delivery(expires_at=None)) == Done()
        mails = (await client.get("/dev/mailbox")).json()["mails"]
        assert len(mails) == KEPT
        assert mails[0] == {"n": 1}
        assert "subject" in mails[-1]
        assert 0 < await pipe.ask("TTL", keys.mailbox) <= 86_400


async def test_without_redis_the_mail_comes_again_later(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> None:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as redis:
        async with mailbox(redis.url, keys) as (sender, client, _):
            redis.kill()
            assert await sender.send(delivery(expires_at=None)) == Retry("the server answered 451 4.3.0 to DATA")
            assert (await client.get("/dev/mailbox")).status_code == 503


async def test_another_page_may_not_look(redis_server: RedisSite, keys: Keys) -> None:
    async with mailbox(redis_server.url, keys) as (_, client, _):
        for method in ("GET", "DELETE"):
            answer = await client.request(method, "/dev/mailbox", headers={"origin": "https://evil.example"})
            assert answer.status_code == 403


@pytest.mark.parametrize(
    ("raw", "subject", "text", "html"),
    [
        (b"", "", "", None),
        (b"Subject: x\r\n\r\nbody", "x", "body", None),
        (b"Subject: =?utf-8?q?=C3=BC?=\r\nContent-Type: text/html\r\n\r\n<p>", "ü", "", "<p>"),
        (b"Subject: \xff\r\n\r\n\xff", "�", "�", None),
        (b"Content-Type: text/plain; charset=nonsense\r\n\r\nx", "", "x", None),
        (b"Content-Type: multipart/alternative\r\n\r\nx", "", "", None),
        (b"X: 1\r\nX: 2\r\n\r\n", "", "", None),
    ],
)
def test_any_bytes_are_a_mail(raw: bytes, subject: str, text: str, html: str | None) -> None:
    mail = mail_of(raw, ["a@b.example", "\udcff@x"], NOW)
    assert (mail["subject"], mail["text"], mail["html"]) == (subject, text, html)
    assert mail["to"] == ["a@b.example", "�@x"]
    assert mail["headers"].get("X", "1\n2") == "1\n2"
