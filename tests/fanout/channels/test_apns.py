"""APNs against a service that verifies and answers as Apple documents, over real HTTP/2 and TLS."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypercorn.asyncio import serve
from hypercorn.config import Config

from bus.outcome import Done, Expired, Gone, Misconfigured, Rejected, Retry, Scope, Throttled, Unavailable
from bus.settings import BadSetting
from fanout.channels.apns import Apns
from fanout.channels.delivery import Delivery, Push, PushTarget
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
from tests.providers.apns_service import KEY_FILE, KEY_ID, TEAM_ID, TOPIC, ApnsService, Reply, apns_service
from tests.providers.tls import certificate, server_context

TOKEN = "ab" * 32


def table(folder: Path, origin: str, **changes: Any) -> dict[str, Any]:
    base = {
        "key": KEY_FILE,
        "key_id": KEY_ID,
        "team_id": TEAM_ID,
        "topic": TOPIC,
        "url": origin,
        "sandbox_url": f"https://127.0.0.1:{free_port()}",
        "ca_file": str(certificate(folder)),
        "timeout": 1,
    }
    return {name: value for name, value in {**base, **changes}.items() if value is not None}


def delivery(token: str = TOKEN, **changes: Any) -> Delivery:
    made = Delivery(
        id="0123456789abcdef0123456789abcdef",
        channel="push",
        user="alice",
        target=PushTarget("d1", "apns", token, registered_at=NOW - 86_400),
        message=Push(TITLE, BODY, "https://shop.example/orders/7", {"order": 7}),
        event=event(),
        expires_at=NOW + 3600,
    )
    return replace(made, **changes)


@asynccontextmanager
async def stand(
    folder: Path, clock: FixedClock | None = None, *, streams: int = 1_000, **changes: Any
) -> AsyncIterator[tuple[ApnsService, Apns]]:
    clock = clock or FixedClock()
    async with asyncio.timeout(20), apns_service(folder, clock.wall, streams=streams) as service:
        made = Apns.from_settings("main", table(folder, service.origin, **changes), clock, allow_private=False)
        service.register(TOKEN)
        try:
            yield service, made
        finally:
            await made.close()


ANSWERS = {
    Situation.BUSY: Reply(503, "ServiceUnavailable"),
    Situation.ASKS_FOR_SECONDS: Reply(429, "TooManyRequests", headers={"retry-after": "7"}),
    Situation.ASKS_FOR_A_DATE: Reply(429, "TooManyRequests", headers={"retry-after": wait_date()}),
    Situation.ASKS_FOR_LESS: Reply(429, "TooManyRequests"),
    Situation.KNOWS_NO_TARGET: Reply(410, "Unregistered", timestamp=int((NOW - 60) * 1000)),
    Situation.REFUSES_MESSAGE: Reply(400, "PayloadEmpty"),
    Situation.REFUSES_US: Reply(403, "InvalidProviderToken"),
    Situation.HANGS: Reply(hang=True),
    Situation.CUTS: Reply(cut=True),
}


class TestContract(SenderContract):
    """APNs is a sender like any other."""

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    @asynccontextmanager
    async def stand(self, situation: Situation) -> AsyncIterator[Stand]:
        gone = {"url": f"https://127.0.0.1:{free_port()}"} if situation is Situation.ABSENT else {}
        async with stand(self.folder, **gone) as (service, made):
            service.always = ANSWERS.get(situation)
            yield Stand(
                made, delivery(), (TOKEN, KEY_FILE), lambda: [one.headers["apns-id"] for one in service.accepted]
            )


# Notifications ---------------------------------------------------------------------------------------------------


async def test_a_device_gets_an_alert_and_what_its_app_needs(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery(event=event(collapse_key="order-7", priority="high"))) == Done()
        [one] = service.accepted
        assert one.payload == {
            "aps": {"alert": {"title": TITLE, "body": BODY}, "sound": "default"},
            "id": "e1",
            "tag": "order-7",
            "url": "https://shop.example/orders/7",
            "data": {"order": 7},
        }
        said = {name: value for name, value in one.headers.items() if name.startswith("apns-")}
        assert said == {
            "apns-topic": TOPIC,
            "apns-push-type": "alert",
            "apns-priority": "10",
            "apns-expiration": str(int(NOW) + 3600),
            "apns-collapse-id": "order-7",
            "apns-id": "01234567-89ab-cdef-0123-456789abcdef",
        }


async def test_a_withdrawal_is_a_background_push_under_the_same_id(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery()) == Done()
        assert await made.send(delivery(message=Push("", "", withdrawn=True))) == Done()
        first, second = service.accepted
        collapse = first.headers["apns-collapse-id"]
        assert second.headers["apns-collapse-id"] == collapse
        assert second.payload == {"aps": {"content-available": 1}, "withdrawn": "e1", "tag": collapse}


@pytest.mark.parametrize("text", ["x" * 5_000, "ü" * 8_000, "\0" * 16_000])
async def test_whatever_the_text_it_is_not_too_big(tmp_path: Path, text: str) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery(message=Push(TITLE, text, None, {"more": text}))) == Done()
        assert service.accepted[0].payload["aps"]["alert"]["title"] == TITLE


async def test_nothing_is_sent_that_is_too_late(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery(expires_at=NOW)) == Expired()
        assert service.connections == []


# Devices ---------------------------------------------------------------------------------------------------------


async def test_a_device_that_registered_again_is_kept(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        since = int((NOW - 3_600) * 1000)
        for reason in ("Unregistered", "ExpiredToken"):
            service.devices[TOKEN] = Reply(410, reason, timestamp=since)
            for registered_at, kind in ((NOW - 7_200, Gone), (NOW - 1_800, Retry)):
                target = PushTarget("d1", "apns", TOKEN, registered_at=registered_at)
                assert isinstance(await made.send(delivery(target=target)), kind)


async def test_a_bad_token_is_suspected_and_not_removed(tmp_path: Path) -> None:
    async with stand(tmp_path) as (_, made):
        found = await made.send(delivery("cd" * 32))
        assert isinstance(found, Rejected)
        assert "BadDeviceToken" in found.reason


async def test_the_sandbox_is_another_server(tmp_path: Path) -> None:
    async with apns_service(tmp_path, FixedClock().wall) as sandbox:
        sandbox.register(TOKEN)
        async with stand(tmp_path, sandbox_url=sandbox.origin) as (service, made):
            target = PushTarget("d1", "apns", TOKEN, environment="sandbox")
            assert await made.send(delivery(target=target)) == Done()
            assert (len(sandbox.accepted), service.connections) == (1, [])
            sandbox.always = Reply(403, "BadEnvironmentKeyIdInToken")
            assert isinstance(await made.send(delivery(target=target)), Rejected)
        async with stand(tmp_path, environment="sandbox", sandbox_url=sandbox.origin) as (_, made):
            assert isinstance(await made.send(delivery()), Misconfigured)


@pytest.mark.parametrize(
    "target",
    [
        PushTarget("d", "apns", "../../etc"),
        PushTarget("d", "apns", ""),
        PushTarget("d", "apns", "a" * 201),
        PushTarget("d", "apns", TOKEN, app="com.evil.app"),
        PushTarget("d", "apns", TOKEN, environment="moon"),
        PushTarget("d", "fcm", TOKEN),
    ],
    ids=["path", "empty", "long", "app", "environment", "provider"],
)
async def test_what_a_device_brings_is_not_trusted(tmp_path: Path, target: PushTarget) -> None:
    async with stand(tmp_path) as (service, made):
        assert isinstance(await made.send(delivery(target=target)), Rejected)
        assert service.connections == []


async def test_another_app_of_ours(tmp_path: Path) -> None:
    async with stand(tmp_path, topics=["com.example.other"]) as (_, made):
        found = await made.send(delivery(target=PushTarget("d", "apns", TOKEN, app="com.example.other")))
        assert isinstance(found, Rejected)
        assert "DeviceTokenNotForTopic" in found.reason


async def test_a_device_that_gets_too_much_is_throttled_alone(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        service.next += [Reply(429, "TooManyRequests"), Reply(429, "TooManyProviderTokenUpdates")]
        assert await made.send(delivery()) == Throttled(60, Scope.TARGET)
        assert await made.send(delivery()) == Throttled(1_200, Scope.CHANNEL)


# Provider tokens -------------------------------------------------------------------------------------------------


async def test_a_provider_token_is_used_for_fifty_minutes(tmp_path: Path) -> None:
    clock = FixedClock()
    async with stand(tmp_path, clock) as (service, made):
        for wait in (0, 49 * 60, 50 * 60):
            clock.now = NOW + wait
            assert await made.send(delivery(expires_at=None)) == Done()
        first, second, third = service.tokens
        assert first == second != third


async def test_a_token_that_apple_finds_old_is_signed_again_once(tmp_path: Path) -> None:
    clock = FixedClock()
    async with stand(tmp_path, clock) as (service, made):
        assert await made.send(delivery(expires_at=None)) == Done()
        service.expired.update(service.tokens)
        # Too early for a new one, which Apple would punish: our clock or the key must be wrong.
        assert isinstance(await made.send(delivery(expires_at=None)), Misconfigured)
        clock.now += 21 * 60
        assert await made.send(delivery(expires_at=None)) == Done()
        assert len(service.tokens) == 4
        service.always = Reply(403, "ExpiredProviderToken")
        clock.now += 21 * 60
        assert isinstance(await made.send(delivery(expires_at=None)), Misconfigured)
        assert len(service.tokens) == 6


# The connection --------------------------------------------------------------------------------------------------


async def send_many(made: Apns, group: asyncio.TaskGroup, count: int) -> list[asyncio.Task[Any]]:
    return [group.create_task(made.send(delivery(id=f"{n:032x}"))) for n in range(count)]


async def until(service: ApnsService, waiting: int) -> None:
    """Until so many requests wait for their answers."""
    while sum(len(one.waiting) for one in service.connections) < waiting:
        service.arrived.clear()
        await service.arrived.wait()


async def test_one_connection_carries_all_within_the_servers_limit(tmp_path: Path) -> None:
    async with stand(tmp_path, streams=7) as (service, made), asyncio.TaskGroup() as group:
        tasks = await send_many(made, group, 60)
        assert [await task for task in tasks] == [Done()] * 60
        [connection] = service.connections
        assert connection.most <= 7
        assert connection.served == 60


async def test_a_limit_that_is_raised_is_used_at_once(tmp_path: Path) -> None:
    """As Apple does: one stream until the provider token was seen, then a thousand."""
    async with stand(tmp_path, streams=1) as (service, made), asyncio.TaskGroup() as group:
        service.gate = asyncio.Event()
        tasks = await send_many(made, group, 20)
        await until(service, 1)
        [connection] = service.connections
        assert connection.waiting == [1]
        connection.allow(1_000)
        await until(service, 20)
        for stream in connection.waiting:
            connection.answer(stream)
        assert [await task for task in tasks] == [Done()] * 20


async def test_more_than_the_windows_hold_gets_through(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made), asyncio.TaskGroup() as group:
        big = Push(TITLE, "x" * 3_000)
        tasks = [group.create_task(made.send(delivery(id=f"{n:032x}", message=big))) for n in range(100)]
        assert [await task for task in tasks] == [Done()] * 100
        assert len(service.connections) == 1


async def test_sent_away_what_is_finished_is_finished_and_the_rest_goes_elsewhere(tmp_path: Path) -> None:
    async with stand(tmp_path, timeout=10) as (service, made), asyncio.TaskGroup() as group:
        service.gate = asyncio.Event()
        tasks = await send_many(made, group, 6)
        await until(service, 6)
        [old] = service.connections
        first, second, third, *_ = old.waiting
        old.send_away(third)
        service.gate.set()
        assert [await task for task in tasks[3:]] == [Done()] * 3
        assert not any(task.done() for task in tasks[:3])
        # A new request goes to the new connection while the old one still has answers to give.
        assert await made.send(delivery(id="f" * 32)) == Done()
        for stream in (first, second, third):
            old.answer(stream)
        assert [await task for task in tasks] == [Done()] * 6
        assert len(service.accepted) == len({one.headers["apns-id"] for one in service.accepted}) == 7
        assert len(service.connections) == 2
        await old.ended.wait()


async def test_sent_away_at_rest_it_comes_back(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery()) == Done()
        service.connections[0].send_away(1)
        await service.connections[0].ended.wait()
        assert await made.send(delivery()) == Done()
        assert len(service.connections) == 2


async def test_a_stream_that_was_refused_is_sent_again(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        service.next.append(Reply(refuse=True))
        assert await made.send(delivery()) == Done()
        service.next += [Reply(refuse=True)] * 4
        assert isinstance(await made.send(delivery()), Unavailable)


async def test_an_answer_in_pieces_is_put_together(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        service.next.append(Reply(410, "Unregistered", timestamp=int((NOW - 1) * 1000), pieces=9))
        assert await made.send(delivery()) == Gone("APNs says Unregistered")


async def test_a_request_that_is_given_up_frees_its_stream(tmp_path: Path) -> None:
    async with stand(tmp_path, streams=1) as (service, made):
        service.next.append(Reply(hang=True))
        assert isinstance(await made.send(delivery()), Retry)
        assert await made.send(delivery()) == Done()
        assert service.connections[0].reset == [1]
        assert len(service.connections) == 1


async def test_no_free_stream_in_time_was_never_sent(tmp_path: Path) -> None:
    async with stand(tmp_path, streams=0) as (service, made):
        assert isinstance(await made.send(delivery()), Unavailable)
        assert service.tokens == []


async def test_a_connection_that_breaks_is_replaced(tmp_path: Path) -> None:
    async with stand(tmp_path) as (service, made):
        assert await made.send(delivery()) == Done()
        service.connections[0].drop()
        # It may not be known yet that the old one is gone: at most one delivery finds out.
        found = await made.send(delivery())
        assert isinstance(found, Retry | Done)
        assert await made.send(delivery()) == Done()


async def test_a_line_that_is_dead_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanout.channels.h2_connection.PING_EVERY", 0.02)
    monkeypatch.setattr("fanout.channels.h2_connection.PONG_WITHIN", 0.2)
    async with stand(tmp_path, timeout=10) as (service, made):
        assert await made.send(delivery()) == Done()
        for _ in range(3):
            await service.pings.acquire()
        service.deaf = True
        found = await made.send(delivery())
        assert isinstance(found, Retry)
        assert "ping" in found.reason
        service.deaf = False
        assert await made.send(delivery()) == Done()


async def test_a_server_that_speaks_something_else(tmp_path: Path) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + b"x" * 20_000)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0, ssl=server_context(certificate(tmp_path)))
    async with server, asyncio.timeout(20):
        origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        made = Apns.from_settings("main", table(tmp_path, origin), FixedClock(), allow_private=False)
        assert isinstance(await made.send(delivery()), Unavailable)
        await made.close()


async def test_a_server_that_nobody_vouches_for(tmp_path: Path) -> None:
    async with stand(tmp_path, ca_file=None) as (service, made):
        found = await made.send(delivery())
        assert found == Unavailable("no trustworthy TLS")
        assert service.connections == []


async def test_many_share_one_failure_to_connect(tmp_path: Path) -> None:
    async with stand(tmp_path, url=f"https://127.0.0.1:{free_port()}") as (_, made), asyncio.TaskGroup() as group:
        tasks = await send_many(made, group, 50)
        assert {repr(await task) for task in tasks} == {repr(Unavailable("no connection"))}


async def test_a_server_by_others(tmp_path: Path) -> None:
    """Hypercorn on HTTP/2, which sends an answer in two pieces."""
    seen: list[str] = []

    async def gone(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 410, "headers": []})
        for part, more in ((b'{"reason":"Unreg', True), (b'istered","timestamp":1}', False)):
            await send({"type": "http.response.body", "body": part, "more_body": more})

    file, port, end = str(certificate(tmp_path)), free_port(), asyncio.Event()
    config = Config.from_mapping(bind=[f"127.0.0.1:{port}"], certfile=file, keyfile=file, errorlog=None)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(serve(gone, config, shutdown_trigger=end.wait))
        made = Apns.from_settings(
            "main", table(tmp_path, f"https://127.0.0.1:{port}"), FixedClock(), allow_private=False
        )
        while isinstance(await made.send(delivery()), Unavailable):
            pass  # it is not up yet
        seen.clear()
        for _ in range(20):
            assert await made.send(delivery(target=PushTarget("d", "apns", TOKEN))) == Gone("APNs says Unregistered")
        assert seen == [f"/3/device/{TOKEN}"] * 20
        await made.close()
        end.set()


# Settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "about"),
    [
        ({"key": None}, "key or key_file is required"),
        ({"key_file": "x"}, "and not both"),
        ({"key": None, "key_file": "/nowhere/key.p8"}, "key_file cannot be read"),
        ({"key": "s3cret"}, "the key cannot be read"),
        ({"key_id": "short"}, "key_id must be 10"),
        ({"team_id": None}, "team_id is required"),
        ({"topic": None}, "topic is required"),
        ({"environment": "moon"}, "environment must be prod or sandbox"),
        ({"url": "http://127.0.0.1"}, "url must be a URL"),
        ({"url": "https://[::1"}, "url must be a URL"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file cannot be read"),
        ({"bundle": "x"}, "has no bundle"),
    ],
)
def test_settings_that_are_wrong(tmp_path: Path, change: dict[str, Any], about: str) -> None:
    with pytest.raises(BadSetting, match=about) as raised:
        Apns.from_settings("main", table(tmp_path, "https://127.0.0.1", **change), FixedClock(), allow_private=False)
    assert "s3cret" not in str(raised.value)


def test_the_key_may_lie_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key.p8"
    file.write_text(KEY_FILE)
    changed = table(tmp_path, "https://127.0.0.1", key=None, key_file=str(file))
    assert json.dumps(changed)
    Apns.from_settings("main", changed, FixedClock(), allow_private=False)
