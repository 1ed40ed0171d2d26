"""FCM against a service that verifies what Google's verifies, and answers in Google's error model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bus.outcome import Done, Expired, Gone, Misconfigured, Outcome, Rejected, Retry, Unavailable
from bus.settings import BadSetting
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.fcm import Fcm
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
from tests.providers.fcm_service import FcmService, error, fcm_service
from tests.providers.scripted import Scripted


def delivery(token: str, **changes: Any) -> Delivery:
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="push",
        user="alice",
        target=PushTarget("d1", "fcm", token),
        message=Push(TITLE, BODY, "https://shop.example/orders/7", {"order": 7}),
        event=event(),
        expires_at=NOW + 3600,
    )
    return replace(made, **changes)


@asynccontextmanager
async def stand(clock: FixedClock | None = None, **changes: Any) -> AsyncIterator[tuple[FcmService, Fcm]]:
    clock = clock or FixedClock()
    async with asyncio.timeout(20), fcm_service(clock.wall) as service:
        table = {"service_account": service.key_file, "base_url": service.origin, "timeout": 1, **changes}
        made = Fcm.from_settings("main", table, clock, allow_private=False)
        try:
            yield service, made
        finally:
            await made.close()


ANSWERS = {
    Situation.BUSY: error(503, "UNAVAILABLE", "UNAVAILABLE"),
    Situation.ASKS_FOR_SECONDS: error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", headers={"Retry-After": "7"}),
    Situation.ASKS_FOR_A_DATE: error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", headers={"Retry-After": wait_date()}),
    Situation.ASKS_FOR_LESS: error(429, "RESOURCE_EXHAUSTED"),
    Situation.KNOWS_NO_TARGET: error(404, "NOT_FOUND", "UNREGISTERED"),
    Situation.REFUSES_MESSAGE: error(400, "INVALID_ARGUMENT", fields=("message.data[0].value",)),
    Situation.REFUSES_US: error(403, "PERMISSION_DENIED"),
    Situation.HANGS: Scripted(hang=True),
    Situation.CUTS: Scripted(cut=True),
}


class TestContract(SenderContract):
    """FCM is a sender like any other."""

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        gone = {"base_url": f"http://127.0.0.1:{free_port()}"} if situation is Situation.ABSENT else {}
        async with stand(**gone) as (service, made):
            service.script.always = ANSWERS.get(situation)
            token = service.register()
            secrets = (token, json.loads(service.key_file)["private_key"])
            yield Stand(
                made,
                delivery(token),
                secrets,
                lambda: [message["android"]["collapse_key"] for message in service.messages],
            )


# Messages --------------------------------------------------------------------------------------------------------


async def test_a_device_gets_a_notification_and_what_its_app_needs() -> None:
    async with stand() as (service, made):
        token = service.register()
        assert await made.send(delivery(token, event=event(collapse_key="order-7", priority="high"))) == Done()
        assert service.messages == [
            {
                "token": token,
                "notification": {"title": TITLE, "body": BODY},
                "data": {"id": "e1", "tag": "order-7", "url": "https://shop.example/orders/7", "data": '{"order":7}'},
                "android": {
                    "collapse_key": "order-7",
                    "priority": "high",
                    "ttl": "3600s",
                    "notification": {"tag": "order-7"},
                },
            }
        ]


async def test_a_withdrawal_is_data_alone_under_the_same_key() -> None:
    async with stand() as (service, made):
        one = delivery(service.register())
        assert await made.send(one) == Done()
        assert await made.send(replace(one, message=Push("", "", withdrawn=True))) == Done()
        first, second = service.messages
        assert second["data"] == {"withdrawn": "e1", "tag": first["android"]["collapse_key"]}
        assert second["android"]["collapse_key"] == first["android"]["collapse_key"]
        assert "notification" not in second


@pytest.mark.parametrize("text", ["x" * 3_000, "ü" * 8_000, "\\" * 2_500, "\0" * 16_000])
async def test_whatever_the_text_it_is_not_too_big(text: str) -> None:
    async with stand() as (service, made):
        one = delivery(service.register(), message=Push(TITLE, text, None, {"more": text}))
        assert await made.send(one) == Done()
        assert "data" not in service.messages[0]["data"]
        assert service.messages[0]["notification"]["title"] == TITLE


async def test_nothing_is_sent_that_is_too_late() -> None:
    async with stand() as (service, made):
        assert await made.send(delivery(service.register(), expires_at=NOW)) == Expired()
        assert service.exchanges == 0


# Access tokens ---------------------------------------------------------------------------------------------------


async def test_one_access_token_serves_until_shortly_before_its_end() -> None:
    clock = FixedClock()
    async with stand(clock) as (service, made):
        one = delivery(service.register(), expires_at=None)
        for wait, exchanges in ((0, 1), (3_200, 1), (3_299, 2), (3_300 + 3_200, 2)):
            clock.now = NOW + wait
            assert await made.send(one) == Done()
            assert service.exchanges == exchanges


async def test_many_who_find_it_old_share_one_exchange() -> None:
    async with stand() as (service, made), asyncio.TaskGroup() as group:
        one = delivery(service.register())
        tasks = [group.create_task(made.send(one)) for _ in range(50)]
        assert [await task for task in tasks] == [Done()] * 50
        assert service.exchanges == 1


async def test_many_share_one_refusal_too() -> None:
    async with stand() as (service, made), asyncio.TaskGroup() as group:
        service.token_script.always = Scripted(503)
        tasks = [group.create_task(made.send(delivery("x"))) for _ in range(50)]
        assert all([isinstance(await task, Unavailable) for task in tasks])
        assert service.exchanges == 1


async def test_a_token_that_is_refused_early_is_replaced_once() -> None:
    async with stand() as (service, made):
        one = delivery(service.register())
        assert await made.send(one) == Done()
        service.revoke_access()
        assert await made.send(one) == Done()
        assert service.exchanges == 2
        service.script.always = error(401, "UNAUTHENTICATED")
        assert isinstance(await made.send(one), Misconfigured)
        assert service.exchanges == 3


async def test_a_401_about_another_key_costs_no_token() -> None:
    async with stand() as (service, made):
        service.script.always = error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")
        assert isinstance(await made.send(delivery(service.register())), Misconfigured)
        assert service.exchanges == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Scripted(400, body=b'{"error":"invalid_grant"}'), Misconfigured),
        (Scripted(200, body=b"{}"), Misconfigured),
        (Scripted(503), Unavailable),
        (Scripted(hang=True), Unavailable),
        (Scripted(cut=True), Unavailable),
    ],
)
async def test_no_access_token(answer: Scripted, kind: type[Outcome]) -> None:
    async with stand() as (service, made):
        service.token_script.always = answer
        assert isinstance(await made.send(delivery(service.register())), kind)
        # Nothing is remembered: the next one asks again.
        service.token_script.always = None
        assert await made.send(delivery(service.register())) == Done()


async def test_a_token_endpoint_elsewhere() -> None:
    async with stand(token_uri=f"http://127.0.0.1:{free_port()}/token") as (service, made):
        assert isinstance(await made.send(delivery(service.register())), Unavailable)
        assert service.exchanges == 0


# Targets ---------------------------------------------------------------------------------------------------------


async def test_devices_that_are_gone_and_tokens_that_are_none() -> None:
    async with stand() as (_, made):
        assert isinstance(await made.send(delivery("never-registered-" + "x" * 20)), Gone)
        assert isinstance(await made.send(delivery("garbage")), Gone)


async def test_an_answer_in_mid_trouble_is_not_judged_by_its_words() -> None:
    async with stand() as (service, made):
        service.script.next.append(Scripted(404, body=b"Requested entity was not found. UNREGISTERED"))
        assert isinstance(await made.send(delivery(service.register())), Misconfigured)
        service.script.next.append(error(500, "INTERNAL", "INTERNAL"))
        found = await made.send(delivery(service.register()))
        assert isinstance(found, Retry)
        assert found.after == 10


async def test_another_project_is_not_found() -> None:
    async with stand(project="another") as (service, made):
        assert isinstance(await made.send(delivery(service.register())), Misconfigured)


async def test_what_is_no_push_is_refused() -> None:
    async with stand() as (_, made):
        assert isinstance(await made.send(delivery("t", target=PushTarget("d", "apns", "t"))), Rejected)


# Settings --------------------------------------------------------------------------------------------------------


async def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    async with fcm_service() as service:
        file = tmp_path / "key.json"
        file.write_text(service.key_file)
        Fcm.from_settings("main", {"service_account_file": str(file)}, FixedClock(), allow_private=False)


@pytest.mark.parametrize(
    ("table", "about"),
    [
        ({}, "service_account or service_account_file is required"),
        ({"service_account": "{}", "service_account_file": "x"}, "and not both"),
        ({"service_account": "{}"}, "no key file"),
        ({"service_account_file": "/nowhere/key.json"}, "cannot be read"),
        ({"service_account": "{}", "project": 7}, "no key file"),
        ({"key": "x"}, "has no key"),
    ],
)
def test_settings_that_are_wrong(table: dict[str, Any], about: str) -> None:
    with pytest.raises(BadSetting, match=about):
        Fcm.from_settings("main", table, FixedClock(), allow_private=False)


async def test_an_address_that_is_none() -> None:
    async with fcm_service() as service:
        table = {"service_account": service.key_file, "base_url": "fcm.googleapis.com"}
        with pytest.raises(BadSetting, match="base_url must begin"):
            Fcm.from_settings("main", table, FixedClock(), allow_private=False)
