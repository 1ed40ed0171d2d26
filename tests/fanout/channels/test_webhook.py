"""Webhooks against a real endpoint, which judges them with the official library."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook as Verifier

from bus.clock import SystemClock
from bus.event import Event
from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from bus.settings import BadSetting
from fanout.channels.delivery import Delivery, EmailAddress, Hook, HookTarget
from fanout.channels.webhook import THROTTLE, Webhook, payload
from tests.fanout.channels.contract import BODY, TITLE, WAIT, FixedClock, SenderContract, Situation, Stand, wait_date

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


@dataclass
class Endpoint:
    """What it was sent, and what it answers next."""

    url: str = ""
    status: int = 204
    headers: Mapping[str, str] = field(default_factory=dict)
    seen: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)

    hangs: bool = False
    cuts: bool = False

    def keys(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append((request.headers, await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        if self.cuts and request.transport is not None:
            request.transport.abort()
        return web.Response(status=self.status, headers=self.headers)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint()
    application = web.Application()
    application.router.add_post("/hook", found.handle)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield found
    finally:
        await runner.cleanup()


def delivery(url: str, **changes: Any) -> Delivery:
    event = Event(id="e1", source="shop", type="order.shipped", created_at=1.0, users=())
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="webhook",
        user="alice",
        target=HookTarget(url),
        message=Hook(payload("order.shipped", "2026-01-01T00:00:00Z", {"id": "e1"})),
        event=event,
    )
    return replace(made, **changes)


async def send(made: Delivery, **table: Any) -> Outcome:
    sender = Webhook.from_settings("main", {"secret": SECRET, **table}, SystemClock(), allow_private=True)
    try:
        async with asyncio.timeout(10):
            return await sender.send(made)
    finally:
        await sender.close()


async def test_the_official_library_accepts_what_arrives() -> None:
    async with endpoint() as receiver:
        assert await send(delivery(receiver.url)) == Done()
    headers, body = receiver.seen[0]
    assert Verifier(SECRET).verify(body, dict(headers)) == {
        "type": "order.shipped", "timestamp": "2026-01-01T00:00:00Z", "data": {"id": "e1"},
    }  # fmt: skip
    assert headers["webhook-id"] == "0123456789abcdef0123456789abcdef"
    assert headers["content-type"] == "application/json"


async def test_the_id_stays_over_attempts() -> None:
    async with endpoint() as receiver:
        await send(delivery(receiver.url, attempt=1))
        await send(delivery(receiver.url, attempt=2))
    assert receiver.seen[0][0]["webhook-id"] == receiver.seen[1][0]["webhook-id"]


async def test_an_endpoint_has_secrets_of_its_own() -> None:
    async with endpoint() as receiver:
        await send(delivery(receiver.url, target=HookTarget(receiver.url, f"{OTHER} {SECRET}")))
    headers, body = receiver.seen[0]
    for secret in (OTHER, SECRET):
        Verifier(secret).verify(body, dict(headers))


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (200, {}, Done()),
        (202, {}, Done()),
        (301, {"Location": "http://127.0.0.1:1/"}, Retry("the endpoint answered 301")),
        (400, {}, Retry("the endpoint answered 400")),
        (410, {}, Gone("the endpoint says that it is gone (410)")),
        (429, {}, Throttled(THROTTLE, Scope.ENDPOINT)),
        (429, {"Retry-After": "7"}, Throttled(7.0, Scope.ENDPOINT)),
        (500, {}, Retry("the endpoint answered 500")),
        (503, {"Retry-After": "9"}, Retry("the endpoint answered 503", 9.0)),
    ],
)
async def test_what_answers_mean(status: int, headers: Mapping[str, str], outcome: Outcome) -> None:
    async with endpoint() as receiver:
        receiver.status, receiver.headers = status, headers
        assert await send(delivery(receiver.url)) == outcome
    assert len(receiver.seen) == 1


async def test_nobody_there_may_pass() -> None:
    async with endpoint() as receiver:
        pass
    assert await send(delivery(receiver.url)) == Retry("the endpoint was not reached: no connection")


async def test_an_endpoint_that_does_not_answer_may_pass() -> None:
    hung_up = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        hung_up.set()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server, asyncio.timeout(10):
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        assert await send(delivery(url), timeout=0.2) == Retry("the endpoint did not answer: no answer in time")
        await hung_up.wait()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "localhost"])
async def test_private_addresses_are_refused_unless_allowed(host: str) -> None:
    sender = Webhook.from_settings("main", {"secret": SECRET, "https_only": False}, SystemClock(), allow_private=False)
    async with asyncio.timeout(10):
        assert await sender.send(delivery(f"http://{host}/")) == Rejected("not sent: the address is not public")
    await sender.close()


async def test_plain_http_is_refused_unless_allowed() -> None:
    sender = Webhook.from_settings("main", {"secret": SECRET}, SystemClock(), allow_private=False)
    assert isinstance(await sender.send(delivery("http://example.com/")), Rejected)
    await sender.close()


async def test_what_cannot_be_sent_says_why_and_quotes_nothing() -> None:
    url = "http://127.0.0.1:9/"
    assert await send(delivery(url, target=EmailAddress("a@example.com"))) == Rejected("this is no webhook")
    assert await send(delivery(url, expires_at=1.0)) == Expired()
    assert isinstance(await send(delivery(url), secret=""), Misconfigured)
    bad = await send(delivery(url, target=HookTarget(url, "whsec_short")))
    assert isinstance(bad, Rejected)
    assert "short" not in bad.reason


@pytest.mark.parametrize(
    ("table", "word"),
    [
        ({"secrets": SECRET}, "secrets"),
        ({"secret": 5}, "string"),
        ({"secret": "hunter2"}, "whsec_"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"connections": 0}, "connections"),
        ({"https_only": "yes"}, "https_only"),
    ],
)
def test_settings_of_the_wrong_form_are_named(table: Mapping[str, Any], word: str) -> None:
    with pytest.raises(BadSetting, match=word) as found:
        Webhook.from_settings("main", table, SystemClock(), allow_private=False)
    assert "hunter2" not in str(found.value)


# What every sender promises ----------------------------------------------------------------------------------------

ANSWERS: Mapping[Situation, tuple[int, Mapping[str, str]]] = {
    Situation.ACCEPTS: (200, {}),
    Situation.BUSY: (503, {}),
    Situation.ASKS_FOR_SECONDS: (429, {"Retry-After": str(WAIT)}),
    Situation.ASKS_FOR_A_DATE: (429, {"Retry-After": wait_date()}),
    Situation.ASKS_FOR_LESS: (429, {}),
    Situation.KNOWS_NO_TARGET: (410, {}),
}


class TestContract(SenderContract):
    """An endpoint knows no credentials of ours, and what it refuses may be mended on its side, so it is tried again."""

    test_a_message_that_is_refused_stays_refused = None  # type: ignore[assignment]
    test_wrong_credentials_are_our_own_fault = None  # type: ignore[assignment]
    test_a_provider_that_is_not_there_was_never_reached = None  # type: ignore[assignment]

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        async with endpoint() as receiver:
            receiver.status, receiver.headers = ANSWERS.get(situation, (200, {}))
            receiver.hangs, receiver.cuts = situation is Situation.HANGS, situation is Situation.CUTS
            table = {"secret": SECRET, "timeout": 0.3 if situation is Situation.HANGS else 5}
            sender = Webhook.from_settings("main", table, FixedClock(), allow_private=True)
            made = delivery(receiver.url, message=Hook(payload(TITLE, "now", {"body": BODY})))
            try:
                yield Stand(sender, made, (SECRET, receiver.url), receiver.keys)
            finally:
                await sender.close()
