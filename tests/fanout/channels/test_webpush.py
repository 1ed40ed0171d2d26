"""Web Push against a service that checks what real ones check, with browsers that decrypt by another implementation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pywebpush import WebPusher

from bus.ece import MAX_PLAINTEXT
from bus.outcome import Done, Expired, Gone, Misconfigured, Rejected
from bus.settings import BadSetting
from fanout.channels import webpush
from fanout.channels.delivery import Delivery, EmailAddress, Mail, Push, PushTarget
from fanout.channels.vapid import generate
from fanout.channels.webpush import WebPush
from tests.fanout.channels.contract import (
    BODY,
    NOW,
    TITLE,
    FixedClock,
    SenderContract,
    Situation,
    Stand,
    event,
    wait_date,
)
from tests.ports import free_port
from tests.providers.push_service import Browser, PushService, push_service
from tests.providers.scripted import Scripted

PRIVATE, PUBLIC = generate()
TABLE: Mapping[str, Any] = {
    "vapid_key": PRIVATE,
    "subject": "mailto:ops@shop.example",
    "hosts": ["127.0.0.1"],
    "timeout": 1,
}


def clock_of() -> float:
    return NOW


def sender(clock: FixedClock | None = None, **changes: Any) -> WebPush:
    return WebPush.from_settings("main", {**TABLE, **changes}, clock or FixedClock(), allow_private=True)


def delivery(browser: Browser, **changes: Any) -> Delivery:
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="push",
        user="alice",
        target=PushTarget("d1", "webpush", browser.endpoint, browser.keys),
        message=Push(TITLE, BODY, "https://shop.example/orders/7", {"order": 7}),
        event=event(),
        expires_at=NOW + 3600,
    )
    return replace(made, **changes)


@asynccontextmanager
async def stand(clock: FixedClock | None = None, **changes: Any) -> AsyncIterator[tuple[PushService, WebPush]]:
    clock = clock or FixedClock()
    made = sender(clock, **changes)
    async with asyncio.timeout(20), push_service(clock.wall) as service:
        try:
            yield service, made
        finally:
            await made.close()


def read(browser: Browser) -> list[Any]:
    return [json.loads(message.plaintext) for message in browser.received]


# The contract of all senders -------------------------------------------------------------------------------------

ANSWERS = {
    Situation.BUSY: Scripted(503),
    Situation.ASKS_FOR_SECONDS: Scripted(429, {"Retry-After": "7"}),
    Situation.ASKS_FOR_A_DATE: Scripted(429, {"Retry-After": wait_date()}),
    Situation.ASKS_FOR_LESS: Scripted(429),
    Situation.KNOWS_NO_TARGET: Scripted(410),
    Situation.REFUSES_MESSAGE: Scripted(400),
    Situation.REFUSES_US: Scripted(403),
    Situation.HANGS: Scripted(hang=True),
    Situation.CUTS: Scripted(cut=True),
}


class TestContract(SenderContract):
    """Web Push is a sender like any other."""

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        async with stand() as (service, made):
            service.script.always = ANSWERS.get(situation)
            browser = service.subscribe(PUBLIC)
            if situation is Situation.ABSENT:
                browser.endpoint = f"http://127.0.0.1:{free_port()}/push/x"
            yield Stand(
                made,
                delivery(browser),
                (PRIVATE, browser.endpoint, browser.endpoint.rpartition("/")[2], *browser.keys.values()),
                lambda: [message.topic or "" for message in browser.received],
            )


# What arrives ----------------------------------------------------------------------------------------------------


async def test_a_browser_reads_what_was_sent() -> None:
    async with stand() as (service, made):
        browser = service.subscribe(PUBLIC)
        assert await made.send(delivery(browser)) == Done()
        [message] = browser.received
        assert (message.ttl, message.urgency) == (3600, "normal")
        assert json.loads(message.plaintext) == {
            "id": "e1",
            "tag": message.topic,
            "title": TITLE,
            "body": BODY,
            "url": "https://shop.example/orders/7",
            "data": {"order": 7},
        }


def test_every_message_has_a_key_and_a_salt_of_its_own() -> None:
    bodies = [webpush.sealed(b"same", Browser("https://push.example/x").keys) for _ in range(3)]
    assert len({body[:16] for body in bodies if isinstance(body, bytes)}) == 3
    assert len({body[21:86] for body in bodies if isinstance(body, bytes)}) == 3


async def test_it_says_what_another_sender_says() -> None:
    """`pywebpush` and we write the same form: each browser reads both."""
    browser = Browser("https://push.example/x")
    theirs = WebPusher({"endpoint": browser.endpoint, "keys": browser.keys}).encode(b"hi", "aes128gcm")
    ours = webpush.sealed(b"hi", browser.keys)
    assert isinstance(ours, bytes)
    assert browser.read(theirs["body"]) == browser.read(ours) == b"hi"
    assert len(theirs["body"]) == len(ours)
    assert theirs["body"][16:21] == ours[16:21]


async def test_priority_and_collapse_key_are_told_to_the_service() -> None:
    async with stand() as (service, made):
        browser = service.subscribe()
        for priority, key in (("low", "orders"), ("high", "a key that no topic can be")):
            assert await made.send(delivery(browser, event=event(priority=priority, collapse_key=key))) == Done()
        low, high = browser.received
        assert (low.urgency, low.topic, high.urgency) == ("low", "orders", "high")
        assert high.topic is not None
        assert len(high.topic) == 32


async def test_what_is_stored_is_replaced_by_its_topic_and_by_its_withdrawal() -> None:
    async with stand() as (service, made):
        browser = service.subscribe()
        browser.online = False
        first = delivery(browser, event=event(collapse_key="score"))
        other = delivery(browser, event=event(id="e2"))
        for one in (first, replace(first, message=Push("2:0", "")), other):
            assert await made.send(one) == Done()
        assert await made.send(replace(other, message=Push("", "", withdrawn=True))) == Done()
        service.come_online(browser)
        assert [(message.get("title"), message.get("withdrawn")) for message in read(browser)] == [
            ("2:0", None),
            (None, "e2"),
        ]


async def test_a_message_that_does_not_fit_goes_out_thin() -> None:
    async with stand() as (service, made):
        browser = service.subscribe()
        frame = len(json.dumps({"id": "e1", "tag": "t", "title": "", "body": ""}, separators=(",", ":")))
        for over, thin in ((0, False), (1, True)):
            text = "x" * (MAX_PLAINTEXT - frame + over)
            one = delivery(browser, message=Push("", text), event=event(collapse_key="t"))
            assert await made.send(one) == Done()
            assert ("thin" in read(browser)[-1]) is thin
        assert len(browser.received[0].plaintext) == MAX_PLAINTEXT
        assert read(browser)[1] == {"id": "e1", "tag": "t", "thin": True}


async def test_a_message_is_kept_as_long_as_it_matters_and_no_longer() -> None:
    clock = FixedClock()
    async with stand(clock) as (service, made):
        browser = service.subscribe()
        browser.online = False
        assert await made.send(delivery(browser)) == Done()
        assert await made.send(delivery(browser, event=event(id="e2"), expires_at=None)) == Done()
        assert await made.send(delivery(browser, event=event(id="e3"), expires_at=NOW)) == Expired()
        clock.now += 3601
        service.come_online(browser)
        assert [message["id"] for message in read(browser)] == ["e2"]


# Identity --------------------------------------------------------------------------------------------------------


async def test_one_token_serves_for_many_messages_and_is_renewed() -> None:
    clock = FixedClock()
    async with stand(clock) as (service, made):
        browser = service.subscribe(PUBLIC)
        for wait in (0, 3600, 10 * 3600, 30 * 3600):
            clock.now = NOW + wait
            assert await made.send(delivery(browser, expires_at=None)) == Done()
        tokens = [request["authorization"] for request in service.requests]
        assert tokens[0] == tokens[1] == tokens[2] != tokens[3]


async def test_a_subscription_made_for_another_key_is_refused_alone() -> None:
    async with stand() as (service, made):
        foreign = delivery(service.subscribe(server_key=generate()[1]))
        # Nobody took our key yet, so it may be us.
        assert isinstance(await made.send(foreign), Misconfigured)
        assert await made.send(delivery(service.subscribe(PUBLIC))) == Done()
        found = await made.send(foreign)
        assert isinstance(found, Rejected)
        assert "another key" in found.reason


# Targets ---------------------------------------------------------------------------------------------------------


async def test_only_known_and_ended_subscriptions_are_gone() -> None:
    async with stand() as (service, made):
        ended, unknown = service.subscribe(), Browser(f"{service.origin}/push/unknown")
        ended.subscribed = False
        assert isinstance(await made.send(delivery(ended)), Gone)
        assert isinstance(await made.send(delivery(unknown)), Gone)


@pytest.mark.parametrize(
    "keys",
    [{}, {"p256dh": "x", "auth": "x"}, {"p256dh": "B" + "A" * 86, "auth": "A" * 22}],
    ids=["none", "short", "off"],
)
async def test_keys_that_are_none_are_refused(keys: dict[str, str]) -> None:
    async with stand() as (service, made):
        browser = service.subscribe()
        found = await made.send(delivery(browser, target=PushTarget("d", "webpush", browser.endpoint, keys)))
        assert isinstance(found, Rejected)
        assert not service.requests


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example/fcm.googleapis.com",
        "https://fcm.googleapis.com.evil.example/x",
        "https://evilpush.services.mozilla.com/x",
        "https://push.services.mozilla.com@evil.example/x",
        "http://fcm.googleapis.com/x",
        "https://fcm.googleapis.com:8443/x",
        "https://user:word@fcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://[::1/x",
        "file:///etc/passwd",
        "",
    ],
)
async def test_endpoints_that_are_at_no_push_service(endpoint: str) -> None:
    table = {name: TABLE[name] for name in ("vapid_key", "subject")}
    made = WebPush.from_settings("main", table, FixedClock(), allow_private=False)
    found = await made.send(delivery(Browser(endpoint)))
    await made.close()
    assert isinstance(found, Rejected)
    assert found.reason.startswith("not sent: ")
    assert not endpoint or endpoint not in found.reason


async def test_in_development_a_phone_may_be_on_this_machine() -> None:
    table = {name: TABLE[name] for name in ("vapid_key", "subject")}
    made = WebPush.from_settings("main", table, FixedClock(), allow_private=True)
    async with push_service(FixedClock().wall) as service:
        assert await made.send(delivery(service.subscribe())) == Done()
    await made.close()


async def test_a_known_name_that_leads_inside_is_refused() -> None:
    table = {**TABLE, "hosts": ["localhost"]}
    made = WebPush.from_settings("main", table, FixedClock(), allow_private=False)
    found = await made.send(delivery(Browser("https://localhost/push/x")))
    await made.close()
    assert found == Rejected("not sent: the address is not public")


async def test_what_is_no_push_is_refused() -> None:
    made = sender()
    browser = Browser("https://push.example/x")
    assert isinstance(await made.send(delivery(browser, target=EmailAddress("a@b.example"))), Rejected)
    assert isinstance(await made.send(delivery(browser, message=Mail("s", "t"))), Rejected)
    assert isinstance(await made.send(delivery(browser, target=PushTarget("d", "fcm", "token"))), Rejected)


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"vapid_key": None}, "vapid_key is required"),
        ({"vapid_key": "short"}, "32 bytes"),
        ({"subject": "ops"}, "subject must begin"),
        ({"hosts": "a.example"}, "hosts must be a list"),
        ({"timeout": 0}, "timeout must be"),
        ({"connections": 1.5}, "connections must be"),
        ({"vapid": "x"}, "has no vapid"),
    ],
)
def test_settings_that_are_wrong(change: dict[str, Any], about: str) -> None:
    with pytest.raises(BadSetting, match=about) as raised:
        sender(**change)
    assert PRIVATE not in str(raised.value)
    assert str(raised.value).startswith("deliver.webpush.main")
