"""Twilio's status callbacks: signed ones are noted once, others change nothing."""

from __future__ import annotations

import asyncio
import base64
import hmac
from urllib.parse import quote, urlencode

import httpx
import pytest

from bus import trail
from bus.callback import Told, make, secret_of
from bus.keys import escape
from bus.outcome import Done
from bus.settings import BadSetting
from bus.trail import Kind
from gateway.api.callbacks import Callbacks
from gateway.settings import GatewaySettings
from tests.fanout.channels.contract import event
from tests.fanout.channels.test_sms import delivery
from tests.fanout.channels.test_sms import stand as sms
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import Api

AUTH = "an auth token of Twilio's"
BASE = "https://tocsin.example"
REF = "4.shop/e 1"
TOLD = Told("main", "sms", "alice", REF)
SETTINGS = {"twilio": {"main": AUTH}, "public_url": BASE + "/"}


def path(told: Told = TOLD, auth: str = AUTH) -> str:
    return f"/v1/callbacks/twilio/{make(secret_of(auth), told)}"


async def call(api: Api, at: str, *, auth: str = AUTH, base: str = BASE, **fields: str) -> httpx.Response:
    fields = {"MessageSid": "SM1", "To": "+41791234567", **fields}
    signed = base + at + "".join(name + fields[name] for name in sorted(fields))
    signature = base64.b64encode(hmac.digest(auth.encode(), signed.encode(), "sha1")).decode()
    headers = {"x-twilio-signature": signature, "content-type": "application/x-www-form-urlencoded"}
    return await api.client.post(at, content=urlencode(fields), headers=headers)


async def sent(api: Api, user: str = "alice", ref: str = REF) -> None:
    """What the delivery worker notes when Twilio took the message."""
    await api.pipe.ask("XADD", api.keys.trail(user), "*", *trail.encode(escape(ref), Kind.SENT, "sms", "", 1))


async def told(api: Api, user: str = "alice") -> list[tuple[str, str]]:
    """Kinds and reasons of the person's trail."""
    entries = [trail.decode(*entry) for entry in await api.pipe.ask("XRANGE", api.keys.trail(user), "-", "+")]
    return [(entry.kind.value, entry.reason) for entry in entries if entry is not None]


async def counts(api: Api) -> dict[bytes, bytes]:
    flat = await api.pipe.ask("HGETALL", api.keys.counts(api.keys.partition("alice"), REF))
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def test_what_became_of_a_message_is_noted_once(open_api: OpenApi) -> None:
    async with open_api(**SETTINGS) as api:
        await sent(api)
        for status in ("queued", "sent", "delivered", "delivered"):
            assert (await call(api, path(), MessageStatus=status)).status_code == 204
        assert (await call(api, path(), MessageStatus="failed", ErrorCode="30005")).status_code == 204
        assert await told(api) == [("sent", ""), ("delivered", "")]
        assert await counts(api) == {b"sms:delivered": b"1"}
        for key in (api.keys.trail("alice"), api.keys.counts(api.keys.partition("alice"), REF)):
            assert await api.pipe.ask("TTL", key) > 0


async def test_a_failure_has_its_code(open_api: OpenApi) -> None:
    async with open_api(**SETTINGS) as api:
        await sent(api)
        await call(api, path(), MessageStatus="undelivered", ErrorCode="30003")
        assert await told(api) == [("sent", ""), ("failed", "Twilio says undelivered (30003)")]
        assert await counts(api) == {b"sms:failed": b"1"}


async def test_calls_at_the_same_time_are_one(open_api: OpenApi) -> None:
    async with open_api(**SETTINGS) as api:
        await sent(api)
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                group.create_task(call(api, path(), MessageStatus="delivered"))
        assert await counts(api) == {b"sms:delivered": b"1"}


async def test_who_was_erased_is_not_written_about_again(open_api: OpenApi) -> None:
    async with open_api(**SETTINGS) as api:
        assert (await call(api, path(), MessageStatus="delivered")).status_code == 204
        await sent(api, ref="4.shop/another")
        assert (await call(api, path(), MessageStatus="delivered")).status_code == 204
        assert await told(api) == [("sent", "")]
        assert await counts(api) == {}


@pytest.mark.parametrize(
    ("at", "options", "status"),
    [
        (path(auth="another"), {}, 404),
        (path(Told("spare", "sms", "alice", REF)), {}, 404),
        ("/v1/callbacks/twilio/x", {}, 404),
        ("/v1/callbacks/twilio/" + quote("é"), {}, 404),
        (path(), {"auth": "another"}, 403),
        (path(), {"base": "https://elsewhere.example"}, 403),
    ],
)
async def test_what_is_not_twilios_changes_nothing(
    open_api: OpenApi, at: str, options: dict[str, str], status: int
) -> None:
    async with open_api(**SETTINGS) as api:
        await sent(api)
        answer = await call(api, at, MessageStatus="delivered", **options)
        assert answer.status_code == status
        assert AUTH not in answer.text
        assert await told(api) == [("sent", "")]


async def test_the_url_that_the_sender_gives_is_the_one_that_is_answered(open_api: OpenApi) -> None:
    async with sms(callbacks=BASE) as (twilio, sender):
        assert await sender.send(delivery()) == Done()
        url = twilio.messages[0]["StatusCallback"]
        fields, headers = twilio.callback(url, "delivered")
        async with open_api(twilio={"main": twilio.token}, public_url=BASE) as api:
            await sent(api, ref=event().ref)
            answer = await api.client.post(url.removeprefix(BASE), data=fields, headers=headers)
            assert answer.status_code == 204
            assert await told(api) == [("sent", ""), ("delivered", "")]


async def test_a_body_that_is_no_form_is_refused(open_api: OpenApi) -> None:
    async with open_api(**SETTINGS) as api:
        for body, status in ((b"\xff", 400), (b"&".join([b"a=1"] * 200), 400), (b"a" * 20_000, 413)):
            assert (await api.client.post(path(), content=body)).status_code == status
        assert (await api.client.get(path())).status_code == 405
        unsigned = await api.client.post(path(), content=b"MessageStatus=delivered")
        assert unsigned.status_code == 403


async def test_without_tokens_there_are_no_callbacks(open_api: OpenApi) -> None:
    async with open_api() as api:
        assert (await call(api, path(), MessageStatus="delivered")).status_code == 404
        with pytest.raises(BadSetting, match=r"\[gateway.twilio\]"):
            Callbacks(GatewaySettings(twilio={"main": {}}), api.pipe, api.keys)
