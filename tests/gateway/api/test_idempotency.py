"""Idempotency-Key: one effect and one answer, however often and whenever the request is made again."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import orjson
import pytest
from starlette.datastructures import Headers

from bus.errors import BusDown
from bus.event import Event
from bus.keys import Keys
from gateway.api.idempotency import fingerprint
from gateway.ingest import Answered, Busy, IdempotentRequest, New, OtherBody, Position
from tests.bus.holding_proxy import holding_proxy
from tests.conftest import UP
from tests.gateway.api import harness
from tests.gateway.api.conftest import OpenApi
from tests.gateway.api.harness import EVENT, KEY, api_keys
from tests.looking import names
from tests.servers import RedisSite

OURS = {"idempotency-key": "order-7"}


def request(fingerprint: str = "f") -> IdempotentRequest:
    return IdempotentRequest("shop", "POST /v1/events", "order-7", fingerprint)


def event(**more: Any) -> Event:
    return Event(id="e", source="shop", type="t", created_at=0.0, users=("alice",), **more)


async def test_a_repeat_gets_the_first_answer_and_has_no_effect(open_api: OpenApi) -> None:
    async with open_api() as api:
        first = await api.post(EVENT, OURS)
        again = await api.post(EVENT, OURS)
        assert first.status_code == again.status_code == 202
        assert first.content == again.content
        assert "idempotency-replay" not in first.headers
        assert again.headers["idempotency-replay"] == "true"
        assert len(await api.stored()) == 1
        assert api.ingest.stats.replayed == 1


async def test_a_mixed_answer_is_repeated_too(open_api: OpenApi) -> None:
    async with open_api() as api:
        batch = {"events": [EVENT, {"type": "t"}]}
        first, again = await api.post(batch, OURS), await api.post(batch, OURS)
        assert first.status_code == again.status_code == 207
        assert first.content == again.content
        assert len(await api.stored()) == 1


async def test_a_repeated_problem_keeps_its_media_type(open_api: OpenApi) -> None:
    async with open_api() as api:
        large = EVENT | {"data": "x" * 65_536}
        first, again = await api.post(large, OURS), await api.post(large, OURS)
        assert first.status_code == again.status_code == 413
        assert again.headers["content-type"] == "application/problem+json"
        assert again.headers["idempotency-replay"] == "true"


async def test_a_body_without_a_good_event_does_not_use_up_the_key(open_api: OpenApi) -> None:
    async with open_api() as api:
        assert (await api.post({"type": "t"}, OURS)).status_code == 400
        assert (await api.post(EVENT, OURS)).status_code == 202


async def test_another_body_is_refused(open_api: OpenApi) -> None:
    async with open_api() as api:
        await api.post(EVENT, OURS)
        other = await api.post(EVENT | {"title": "other"}, OURS)
        assert other.status_code == 422
        assert len(await api.stored()) == 1


async def test_keys_of_two_producers_are_two_keys(open_api: OpenApi) -> None:
    other = {"billing": {"sha256": sha256(b"billing-key").hexdigest(), "scopes": ["events"]}} | api_keys()
    async with open_api(api_keys=other) as api:
        first = await api.post(EVENT, OURS)
        second = await api.post(EVENT, OURS | {"x-api-key": "billing-key"})
        assert second.status_code == 202
        assert first.json()["id"] != second.json()["id"]
        assert len(await api.stored()) == 2


async def test_two_at_once_are_one_and_a_conflict(open_api: OpenApi) -> None:
    async with open_api() as api:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(api.post(EVENT, OURS)) for _ in range(10)]
        answers = [task.result() for task in tasks]
        assert {answer.status_code for answer in answers} <= {202, 409}
        conflicts = [answer for answer in answers if answer.status_code == 409]
        assert conflicts
        assert all(conflict.headers["retry-after"] == "1" for conflict in conflicts)
        assert len(await api.stored()) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f", "é"])
async def test_a_key_is_visible_ascii(open_api: OpenApi, key: str) -> None:
    async with open_api() as api:
        raw = [(b"x-api-key", KEY.encode()), (b"content-type", b"application/json"), (b"idempotency-key", key.encode())]
        response = await api.client.post("/v1/events", content=orjson.dumps(EVENT), headers=raw)
        assert response.status_code == 400
        assert await api.stored() == []


async def test_two_keys_are_refused(open_api: OpenApi) -> None:
    async with open_api() as api:
        raw = [(b"x-api-key", KEY.encode()), (b"content-type", b"application/json")] + [(b"idempotency-key", b"k")] * 2
        assert (await api.client.post("/v1/events", content=orjson.dumps(EVENT), headers=raw)).status_code == 400


def test_attributes_in_headers_are_part_of_the_body() -> None:
    base = {"content-type": "application/json", "ce-id": "1"}
    prints = {
        fingerprint("binary", Headers(base), b"{}"),
        fingerprint("binary", Headers(base | {"ce-id": "2"}), b"{}"),
        fingerprint("binary", Headers(base | {"ce-x": "2"}), b"{}"),
        fingerprint("native", Headers(base), b"{}"),
        fingerprint("binary", Headers(base), b"{ }"),
    }
    assert len(prints) == 5
    assert fingerprint("binary", Headers(base | {"x-trace": "1"}), b"{}") in prints


# A crash between the steps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("done", [0, 1, 2, 3])
async def test_a_request_that_broke_off_after_some_events_is_finished_without_a_second_one(
    open_api: OpenApi, done: int
) -> None:
    """The process that began stops after `begin` and `done` events; the lease runs out and the producer repeats."""
    batch = {"events": [EVENT | {"data": i} for i in range(3)]}
    async with open_api(ingest_options={"lease": 0.0}) as api:
        body = orjson.dumps(batch)
        given = Headers({"content-type": "application/json"})
        once = request(fingerprint("native", given, body))
        assert isinstance(await api.ingest.begin(once), New)
        read = [
            (i, api.ingest.read(raw, producer="shop", default_id=once.event_id(i)))
            for i, raw in enumerate(batch["events"])
        ]
        events = [(i, found) for i, found in read if isinstance(found, Event)]
        before = await api.ingest.accept_once(once, events[:done], "shop")

        response = await api.post(body, OURS)
        assert response.status_code == 202
        results = response.json()["events"]
        assert [Position(r["partition"], r["position"]) for r in results[:done]] == before
        assert [stored["data"] for stored in await api.stored()] == [0, 1, 2]
        assert [r["id"] for r in results] == [once.event_id(i) for i in range(3)]
        assert (await api.post(body, OURS)).content == response.content


async def test_a_request_that_broke_off_before_its_answer_was_kept_is_answered_the_same(open_api: OpenApi) -> None:
    async with open_api(ingest_options={"lease": 0.0}) as api:
        first = await api.post(EVENT, OURS)
        digest = IdempotentRequest("shop", "POST /v1/events", "order-7", "").digest
        await api.pipe.ask("HDEL", api.keys.idempotency(digest), "answer")  # as if the process had died just before
        again = await api.post(EVENT, OURS)
        assert again.content == first.content
        assert len(await api.stored()) == 1


async def test_while_in_progress_it_is_busy_and_no_other_body_gets_the_key(open_api: OpenApi) -> None:
    async with open_api() as api:
        assert await api.ingest.begin(request()) == New()
        assert await api.ingest.begin(request()) == Busy()
        assert await api.ingest.begin(request("g")) == OtherBody()
        await api.ingest.finish(request(), b"answer")
        assert await api.ingest.begin(request()) == Answered(b"answer")
        assert await api.ingest.begin(request("g")) == OtherBody()


async def test_the_fingerprint_outlives_a_request_that_broke_off(open_api: OpenApi) -> None:
    async with open_api(ingest_options={"lease": 0.0}) as api:
        assert await api.ingest.begin(request()) == New()
        assert await api.ingest.begin(request("g")) == OtherBody()
        assert await api.ingest.begin(request()) == New()


async def test_everything_kept_goes_when_its_day_is_over(open_api: OpenApi) -> None:
    async with open_api(ingest_options={"remembered": 100}) as api:
        await api.post(EVENT, OURS)
        kept = [name for name in await names(api.pipe, api.keys) if b"accepted" in name or b"idempotency" in name]
        assert len(kept) == 2
        for name in kept:
            assert 0 < await api.pipe.ask("TTL", name) <= 100


@pytest.mark.one_server
async def test_the_answer_is_lost_on_the_way_and_the_repeat_finds_it(redis_server: RedisSite, keys: Keys) -> None:
    """Redis appends, then the connection breaks: the producer is told 503, repeats, and there is one event."""
    async with (
        holding_proxy(redis_server.port) as (proxy, url),
        harness.open_api(url, keys, ingest_options={"lease": 0.0}) as api,
    ):
        await api.ingest.begin(request("other-request"))
        batch = {"events": [EVENT | {"data": i} for i in range(5)]}
        proxy.hold()
        async with asyncio.TaskGroup() as group:
            posted = group.create_task(api.post(batch, OURS | {"idempotency-key": "k2"}))
            await proxy.held.wait()
            proxy.cut()
        assert posted.result().status_code == 503
        assert posted.result().headers["retry-after"] == "1"
        await api.pipe.wait_up(UP)
        again = await api.post(batch, OURS | {"idempotency-key": "k2"})
        assert again.status_code == 202
        assert [stored["data"] for stored in await api.stored()] == [0, 1, 2, 3, 4]


@pytest.mark.one_server
async def test_accepting_once_tells_of_an_outage_per_event(redis_server: RedisSite, keys: Keys) -> None:
    async with holding_proxy(redis_server.port) as (proxy, url), harness.open_api(url, keys) as api:
        await api.cut_off(proxy)
        (outcome,) = await api.ingest.accept_once(request(), [(0, event())], "shop")
        assert isinstance(outcome, BusDown)
        with pytest.raises(BusDown):
            await api.ingest.begin(request())
