"""Text messages by Twilio's API and by any other, against services that answer as they document."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web

from bus import callback
from bus.callback import Told
from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Unavailable
from bus.settings import BadSetting
from fanout.channels.delivery import Delivery, EmailAddress, Mail, PhoneNumber, Sms
from fanout.channels.sms import SmsSender
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
from tests.providers.scripted import Script, Scripted, listening
from tests.providers.twilio_service import SID, TwilioService, error, twilio_service

NUMBER = "+41791234567"
SENDER = "+15005550006"


def delivery(number: str = NUMBER, **changes: Any) -> Delivery:
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="sms",
        user="alice",
        target=PhoneNumber(number),
        message=Sms(f"{TITLE}\n{BODY}"),
        event=event(),
        expires_at=NOW + 3600,
    )
    return replace(made, **changes)


@asynccontextmanager
async def stand(**changes: Any) -> AsyncIterator[tuple[TwilioService, SmsSender]]:
    async with asyncio.timeout(20), twilio_service() as service:
        table = {
            "account_sid": SID,
            "auth_token": service.token,
            "from": SENDER,
            "base_url": service.origin,
            "callbacks": "https://tocsin.example/",
            "timeout": 1,
            **changes,
        }
        made = SmsSender.from_settings("main", table, FixedClock(), allow_private=False)
        try:
            yield service, made
        finally:
            await made.close()


# As every sender ---------------------------------------------------------------------------------------------------

ANSWERS = {
    Situation.BUSY: error(503),
    Situation.ASKS_FOR_SECONDS: error(429, 20429, {"Retry-After": "7"}),
    Situation.ASKS_FOR_A_DATE: error(429, 20429, {"Retry-After": wait_date()}),
    Situation.ASKS_FOR_LESS: error(429, 20429),
    Situation.KNOWS_NO_TARGET: error(400, 21211),
    Situation.REFUSES_MESSAGE: error(400, 21617),
    Situation.REFUSES_US: error(401, 20003),
    Situation.HANGS: Scripted(hang=True),
    Situation.CUTS: Scripted(cut=True),
}


class TestTwilio(SenderContract):
    """Twilio is a sender like any other."""

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        gone = {"base_url": f"http://127.0.0.1:{free_port()}"} if situation is Situation.ABSENT else {}
        async with stand(**gone) as (service, made):
            service.script.always = ANSWERS.get(situation)
            yield Stand(
                made,
                delivery(),
                (NUMBER, NUMBER[1:], service.token),
                lambda: [message["StatusCallback"] for message in service.messages],
            )


KEY = "a key that nobody may see"
SERVICE = {
    "kind": "http",
    "headers": {"Authorization": f"Bearer {KEY}"},
    "body": {"recipients": ["{to}"], "content": {"text": "{text}"}, "originator": "{from}", "reference": "{id}"},
    "from": "Shop",
    "code": "error.code",
    "gone": ["invalid_recipient"],
    "timeout": 1,
}


@dataclass
class AnyService:
    """A service that takes JSON and a bearer token."""

    script: Script = field(default_factory=Script)
    messages: list[dict[str, Any]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.raw.append(await request.read())
        if (scripted := self.script.take()) is not None:
            return await scripted.give(request)
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        if request.content_type == "application/json":
            self.messages.append(json.loads(self.raw[-1]))
        return web.json_response({"ok": True}, status=202)


@asynccontextmanager
async def any_stand(**changes: Any) -> AsyncIterator[tuple[AnyService, SmsSender]]:
    service = AnyService()
    async with asyncio.timeout(20), listening(service.handle) as origin:
        table = SERVICE | {"url": f"{origin}/v2/messages"} | changes
        made = SmsSender.from_settings("main", table, FixedClock(), allow_private=False)
        try:
            yield service, made
        finally:
            await made.close()


class TestAnyService(SenderContract):
    """Any other service is a sender like any other."""

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        answers = ANSWERS | {
            Situation.KNOWS_NO_TARGET: Scripted(422, body=b'{"error":{"code":"invalid_recipient","to":"+41791234567"}}')
        }
        gone = {"url": f"http://127.0.0.1:{free_port()}/"} if situation is Situation.ABSENT else {}
        async with any_stand(**gone) as (service, made):
            service.script.always = answers.get(situation)
            ids = lambda: [message["reference"] for message in service.messages]  # noqa: E731
            yield Stand(made, delivery(), (NUMBER, NUMBER[1:], KEY), ids)


# Twilio ------------------------------------------------------------------------------------------------------------


async def test_what_twilio_is_asked() -> None:
    async with stand() as (service, made):
        assert await made.send(delivery()) == Done()
        (message,) = service.messages
        assert (message["To"], message["From"], message["Body"]) == (NUMBER, SENDER, f"{TITLE}\n{BODY}")
        assert message["ValidityPeriod"] == "3600"
        begin, _, token = message["StatusCallback"].rpartition("/")
        assert begin == "https://tocsin.example/v1/callbacks/twilio"
        told = callback.read(callback.secret_of(service.token), token)
        assert told == Told("main", "sms", "alice", event().ref)


async def test_a_messaging_service_an_api_key_and_no_callbacks() -> None:
    changes = {"from": "MG" + "a" * 32, "api_key": "SK1", "api_secret": "other", "callbacks": "", "auth_token": ""}
    async with stand(**changes) as (service, made):
        service.script.next.append(Scripted(201))
        assert await made.send(delivery()) == Done()
        assert isinstance(await made.send(delivery()), Misconfigured)  # it is not the account's own token
    async with stand(**{"from": "MG" + "a" * 32, "callbacks": ""}) as (service, made):
        assert await made.send(delivery(expires_at=None)) == Done()
        (message,) = service.messages
        assert message["MessagingServiceSid"] == "MG" + "a" * 32
        assert "From" not in message
        assert "StatusCallback" not in message


async def test_who_opted_out_is_gone_and_says_why() -> None:
    async with stand() as (service, made):
        service.script.next.append(error(400, 21610))
        assert await made.send(delivery()) == Gone("the person opted out (21610)")


async def test_a_long_text_is_cut_at_its_cap() -> None:
    async with stand(segments=1) as (service, made):
        assert await made.send(delivery(message=Sms("a" * 500))) == Done()
        assert service.messages[0]["Body"] == "a" * 157 + "..."


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"target": PhoneNumber("0791234567")}, Gone),
        ({"target": PhoneNumber("112")}, Gone),
        ({"target": PhoneNumber("+41791234567&To=+4190")}, Gone),
        ({"target": PhoneNumber("+19005550100")}, Rejected),
        ({"target": PhoneNumber("+33612345678")}, Rejected),
        ({"message": Sms("  ")}, Rejected),
        ({"message": Mail("a", "b")}, Rejected),
        ({"target": EmailAddress("a@b.example")}, Rejected),
        ({"expires_at": NOW}, Expired),
    ],
)
async def test_what_is_not_sent(changes: dict[str, Any], kind: type[Outcome]) -> None:
    async with stand(countries=["+41", "+1"]) as (service, made):
        assert type(await made.send(delivery(**changes))) is kind
        assert service.messages == []


# Any other service -------------------------------------------------------------------------------------------------


async def test_what_any_service_is_asked() -> None:
    async with any_stand() as (service, made):
        evil = 'quote " and {to} and \\'
        assert await made.send(delivery(message=Sms(evil))) == Done()
        assert service.messages == [
            {
                "recipients": [NUMBER],
                "content": {"text": evil},
                "originator": "Shop",
                "reference": "0123456789abcdef0123456789abcdef",
            }
        ]


async def test_a_form_and_no_plus_sign() -> None:
    async with any_stand(format="form", body={"nr": "{digits}", "msg": "{text}"}) as (service, made):
        assert await made.send(delivery(message=Sms("a&nr=1 é"))) == Done()
        assert service.raw == [b"nr=41791234567&msg=a%26nr%3D1+%C3%A9"]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(Scripted(302), Misconfigured), (Scripted(404), Misconfigured), (Scripted(408), Retry), (Scripted(422), Rejected)],
)
async def test_answers_by_status(answer: Scripted, kind: type[Outcome]) -> None:
    async with any_stand() as (service, made):
        service.script.next.append(answer)
        assert type(await made.send(delivery())) is kind


async def test_an_absent_service_is_unavailable() -> None:
    async with any_stand(url=f"http://127.0.0.1:{free_port()}") as (_, made):
        assert await made.send(delivery()) == Unavailable("the service was not reached: no connection")


# Settings ----------------------------------------------------------------------------------------------------------

TWILIO = {"account_sid": SID, "auth_token": "hidden-token", "from": SENDER}
OTHER = {"kind": "http", "url": "https://sms.example/", "body": {"to": "{to}"}}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "pigeon"}, "deliver.sms.main.kind must be one of twilio, http"),
        (TWILIO | {"url": "x"}, "deliver.sms.main has no url"),
        (TWILIO | {"account_sid": ""}, "account_sid must not be empty"),
        (TWILIO | {"auth_token": ""}, "auth_token is required"),
        (TWILIO | {"api_key": "SK"}, "api_secret and api_key belong together"),
        (TWILIO | {"from": "a name that is too long"}, "from must be a number"),
        (TWILIO | {"base_url": "ftp://x"}, "base_url must begin with https://"),
        (TWILIO | {"callbacks": "tocsin.example"}, "callbacks must begin with https://"),
        (TWILIO | {"countries": ["41"]}, "countries must hold the beginnings"),
        (TWILIO | {"segments": 0}, "segments must be a whole number from 1 to 10"),
        (OTHER | {"body": {}}, "body must be a table"),
        (OTHER | {"body": {"a": ["{who}"]}}, r"has \{who\}, which stands for nothing"),
        (OTHER | {"format": "xml"}, "format must be json or form"),
        (OTHER | {"format": "form", "body": {"a": ["b"]}}, "must hold strings only"),
        (OTHER | {"headers": {"X": "hidden-token\r\nY: z"}}, "headers must be a table"),
        (OTHER | {"headers": []}, "headers must be a table"),
        (OTHER | {"url": "nowhere"}, "url must begin with"),
    ],
)
def test_a_wrong_setting_is_named_and_not_quoted(table: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSetting, match=said) as raised:
        SmsSender.from_settings("main", table, FixedClock(), allow_private=False)
    assert "hidden" not in str(raised.value)
