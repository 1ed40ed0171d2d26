"""`GET /sse` of a real node: resumed with nothing lost or told twice, and every request that gets no stream."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest
from httpx_sse import aconnect_sse

from bus.clock import SystemClock
from bus.keys import Keys
from gateway import door, tickets
from gateway.effects import Claims
from gateway.limits import Herd
from gateway.node import Node
from gateway.wire.codes import Disconnect
from gateway.wire.eventsource import HEARTBEAT
from tests.gateway.stand import Producer, token
from tests.gateway.streams import Stream, eventually, request, serving
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

PAGE = "https://app.example"


def bearer(user: str = "alice", **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(user, **claims)}"}


async def ticket_for(node: Node, user: str, ttl: float = 3600) -> str:
    ticket = "tkt_" + user * 8
    claims = Claims(user, SystemClock().wall() + ttl)
    await node.pipe.ask("SET", node.keys.ticket(tickets.digest(ticket)), tickets.pack(claims), "EX", tickets.TTL)
    return ticket


# A stream ------------------------------------------------------------------------------------------------------------


async def test_inbox_and_topics_come_with_the_place_to_resume_from(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.get(port, "/sse?topics=news:a,news:b", **bearer()) as stream,
    ):
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert await stream.data("tocsin.ready") == {"topics": ["inbox", "news:a", "news:b"]}
        assert stream.body.startswith(HEARTBEAT)
        assert stream.browser.retry == 1_000
        producer = Producer(node.pipe, keys)
        for topic in ("news:b", "@alice", "news:a"):
            await producer.publish(topic, {"to": topic})
        found = [await stream.data() for _ in range(3)]
        assert {one["topic"]: (one["offset"], one["data"]["to"]) for one in found} == {
            "inbox": (1, "@alice"),
            "news:a": (1, "news:a"),
            "news:b": (1, "news:b"),
        }
        assert stream.browser.last_event_id


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_client_that_comes_back_misses_nothing_and_gets_nothing_twice(
    redis_server: RedisSite, keys: Keys, by_header: bool
) -> None:
    """On two nodes in turn, while publishing goes on."""
    told: list[int] = []
    id = ""
    async with (
        serving(redis_server.url, keys) as (node, port),
        serving(redis_server.url, keys) as (_, other_port),
        asyncio.TaskGroup() as group,
    ):
        producer = Producer(node.pipe, keys)

        async def publish() -> None:
            for number in range(40):
                await producer.notify("alice", number)
                await asyncio.sleep(0.005)

        for turn in range(8):
            target = "/sse" if by_header or not id else f"/sse?last_event_id={quote(id)}"
            resumed = {"Last_Event_ID": id} if by_header and id else {}
            async with Stream.get((port, other_port)[turn % 2], target, **bearer(), **resumed) as stream:
                if turn == 0:
                    await stream.event("tocsin.ready")
                    publishing = group.create_task(publish())
                while len(told) < 5 * (turn + 1):
                    told.append((await stream.data())["data"])
                id = stream.browser.events[-1].last_event_id
                told += [orjson.loads(e.data)["data"] for e in stream.browser.events[stream._read :]]
        await publishing
    assert told[:40] == list(range(40))
    assert len(told) == len(set(told))


async def test_what_cannot_be_recovered_is_said(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        async with Stream.get(port, "/sse?topics=news:a", **bearer()) as stream:
            await stream.event("tocsin.ready")
            id = stream.browser.last_event_id
        producer = Producer(node.pipe, keys)
        for number in range(250):  # more than the log keeps, however roughly it is trimmed
            await producer.publish("news:a", number)
        async with Stream.get(port, "/sse?topics=news:a", Last_Event_ID=id, **bearer()) as stream:
            assert await stream.data("tocsin.resync") == {"topic": "news:a"}
            await stream.event("tocsin.ready")
            assert [event.type for event in stream.browser.events] == ["tocsin.resync", "tocsin.ready"]
            await producer.publish("news:a", "next")
            assert (await stream.data())["data"] == "next"


@pytest.mark.parametrize("id", ["x", "%00", "é", "aaaaaaaa.5.e", "9" * 9_000, "a.b.c~" * 100])
async def test_an_id_that_is_not_ours_is_no_silent_gap(redis_server: RedisSite, keys: Keys, id: str) -> None:
    known = id == "aaaaaaaa.5.e"  # a place in some other topic says nothing about ours
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.get(port, "/sse", Last_Event_ID=id, **bearer()) as stream,
    ):
        await stream.event("tocsin.ready")
        assert [event.type for event in stream.browser.events] == ["tocsin.resync"] * (not known) + ["tocsin.ready"]


async def test_another_users_id_recovers_nothing_of_theirs(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        producer = Producer(node.pipe, keys)
        await producer.notify("alice", "for alice")
        await producer.notify("mallory", "for mallory")
        async with Stream.get(port, "/sse", **bearer("alice")) as stream:
            await stream.event("tocsin.ready")
            id = stream.browser.last_event_id
        async with Stream.get(port, "/sse", Last_Event_ID=id, **bearer("mallory")) as stream:
            assert await stream.data("tocsin.resync") == {"topic": "inbox"}
            await stream.event("tocsin.ready")
            assert [event.type for event in stream.browser.events] == ["tocsin.resync", "tocsin.ready"]


async def test_line_breaks_in_what_is_published_forge_nothing(redis_server: RedisSite, keys: Keys) -> None:
    nasty = "a\n\nevent: x\r\rdata: y\n\nid: 9\u2028\0 \r\n:"
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.get(port, "/sse", **bearer("al\u00eece")) as stream,
    ):
        await stream.event("tocsin.ready")
        await Producer(node.pipe, keys).notify("al\u00eece", {"text": nasty, nasty: 1})
        assert (await stream.data())["data"] == {"text": nasty, nasty: 1}
        assert len(stream.browser.events) == 2


async def test_httpx_sse_reads_it(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port), httpx.AsyncClient(timeout=30) as client:
        url = f"http://127.0.0.1:{port}/sse"
        async with aconnect_sse(client, "GET", url, params={"topics": "news:a"}, headers=bearer()) as source:
            events = source.aiter_sse()
            assert (await anext(events)).event == "tocsin.ready"
            await Producer(node.pipe, keys).publish("news:a", {"x": "ü"})
            event = await anext(events)
            assert (event.event, event.json()) == ("message", {"topic": "news:a", "offset": 1, "data": {"x": "ü"}})
            await node.service.drain()
            end = await anext(events)
            assert (end.event, end.json()) == ("tocsin.disconnect", {"code": 3001, "reason": "shutdown"})
            assert [event async for event in events] == []


async def test_a_heartbeat_is_a_comment(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port), Stream.get(port, "/sse", **bearer()) as stream:
        await stream.event("tocsin.ready")
        before = len(stream.body)
        for _ in range(2 * 100):  # more than all slots of the wheel
            node.service.watch.tick(node.clock.monotonic(), node.clock.wall())
        assert await stream.more()
        assert stream.body[before:].startswith(HEARTBEAT)
        assert node.stats.connections == 1, "nobody expects a pong"


async def test_a_token_that_runs_out_ends_the_stream(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port), Stream.get(port, "/sse", **bearer(ttl=5)) as stream:
        await stream.event("tocsin.ready")
        for later in (60, 120):
            node.service.watch.tick(node.clock.monotonic(), node.clock.wall() + later)
        assert (await stream.data("tocsin.disconnect"))["code"] == Disconnect.EXPIRED.value.code
        await stream.rest()
        assert stream.ended


async def test_a_client_that_does_not_read_is_closed_and_resumes(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys, outbox_bytes=100_000) as (node, port):
        producer, text = Producer(node.pipe, keys), "x" * 300_000
        async with Stream.get(port, "/sse", **bearer()) as slow:
            await slow.event("tocsin.ready")
            slow.writer.transport.pause_reading()
            for number in range(5):
                await producer.notify("alice", f"{number} {text}")
            [connection] = node.service.hub.topics["@alice"].members
            await eventually(lambda: connection._code)  # before it reads again: else it was never slow
            slow.writer.transport.resume_reading()
            assert (await slow.data("tocsin.disconnect"))["code"] == Disconnect.SLOW.value.code
            await slow.rest()
            assert slow.ended
            told = [orjson.loads(e.data)["offset"] for e in slow.browser.events if e.type == "message"]
            id = slow.browser.last_event_id
        async with Stream.get(port, "/sse", Last_Event_ID=id, **bearer()) as stream:
            while told[-1:] != [5]:
                told.append((await stream.data())["offset"])
        assert told == list(range(1, 6))


async def test_a_client_that_goes_leaves_nothing_behind(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        for abort in (False, True):
            async with Stream.get(port, "/sse?topics=news:a", **bearer()) as stream:
                if abort:
                    stream.writer.transport.abort()
                else:
                    await stream.event("tocsin.ready")
            await eventually(lambda: node.stats.connections == 0 and not node.service.hub.topics)


# Who gets none -------------------------------------------------------------------------------------------------------


async def test_a_ticket_is_good_once(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        ticket = await ticket_for(node, "alice")
        async with Stream.get(port, f"/sse?ticket={ticket}") as stream:
            await stream.event("tocsin.ready")
            async with Stream.get(port, f"/sse?ticket={ticket}") as again:
                assert again.status == 401
                assert "Bearer" in again.headers["www-authenticate"]


async def test_a_request_that_is_refused_for_another_reason_leaves_its_ticket(
    redis_server: RedisSite, keys: Keys
) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        ticket = await ticket_for(node, "alice")
        async with Stream.get(port, f"/sse?ticket={ticket}&topics=nonsense") as answer:
            assert answer.status == 400
        async with Stream.request(port, request("HEAD", port, f"/sse?ticket={ticket}")) as answer:
            assert answer.status == 405
        async with Stream.get(port, f"/sse?ticket={ticket}") as stream:
            assert stream.status == 200


async def test_without_a_good_token_there_is_no_stream(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        jwt, ticket = token("alice"), await ticket_for(node, "alice")
        cases: list[tuple[str, dict[str, str]]] = [
            ("/sse", {}),
            ("/sse?ticket=", {}),
            ("/sse?ticket=tkt_unknown", {}),
            (f"/sse?ticket={jwt}", {}),
            (f"/sse?token={jwt}", {}),
            (f"/sse?ticket={ticket}&ticket={ticket}", {}),
            (f"/sse?ticket={ticket}", bearer()),
            ("/sse", {"Authorization": "Bearer"}),
            ("/sse", {"Authorization": f"Basic {jwt}"}),
            ("/sse", {"Authorization": "Bearer x.y.z"}),
            ("/sse", bearer(ttl=-3600)),
        ]
        for target, headers in cases:
            async with Stream.get(port, target, **headers) as answer:
                assert answer.status == 401, target
                problem = await answer.problem()
                assert jwt not in str(problem)
                assert ticket not in str(problem)
        assert node.stats.opened == 0


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("topics=news", 400),
        ("topics=@bob", 400),
        ("topics=news:*", 400),
        ("topics=news:%0Aid:9", 400),
        ("topics=" + ",".join(f"news:{n}" for n in range(33)), 400),
        ("topics=secret:a", 403),
        ("topics=news:a,secret:a", 403),
        ("topics=inbox", 200),
        ("topics=", 200),
        ("topics=,,news:a,news:a", 200),
        ("topics=" + ",".join(f"news:{n}" for n in range(32)), 200),
        ("topic=news:a,b&topics=news:c", 200),
    ],
)
async def test_topics_are_checked_before_the_stream_begins(
    redis_server: RedisSite, keys: Keys, query: str, status: int
) -> None:
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.get(port, f"/sse?{query}", **bearer()) as stream,
    ):
        assert stream.status == status
        if status == 200:
            assert (await stream.data("tocsin.ready"))["topics"][0] == "inbox"
        else:
            await stream.problem()
            assert node.stats.opened == 0


async def test_a_token_may_grant_a_topic(redis_server: RedisSite, keys: Keys) -> None:
    headers = bearer(topics=["secret:a"])
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.get(port, "/sse?topics=secret:a", **headers) as stream,
    ):
        assert (await stream.data("tocsin.ready"))["topics"] == ["inbox", "secret:a"]


async def test_a_user_has_so_many_connections(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys, connections_per_user=1) as (node, port),
        Stream.get(port, "/sse", **bearer()) as stream,
    ):
        await stream.event("tocsin.ready")
        async with Stream.get(port, "/sse", **bearer()) as second:
            assert (await second.data("tocsin.disconnect"))["code"] == Disconnect.CONNECTION_LIMIT.value.code
            assert second.browser.retry == 60_000
            await second.rest()
            assert second.ended
        async with Stream.get(port, "/sse", **bearer("bob")) as other:
            await other.event("tocsin.ready")
        assert node.stats.authenticated >= 1


async def test_pages_of_allowed_origins_alone(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys, allowed_origins=(PAGE,)) as (_, port):
        async with Stream.get(port, "/sse", Origin=PAGE, **bearer()) as stream:
            assert stream.headers["access-control-allow-origin"] == PAGE
        async with Stream.get(port, "/sse", Origin="https://evil.example", **bearer()) as answer:
            assert answer.status == 403
        async with Stream.get(port, "/sse", Origin=PAGE) as answer:
            assert answer.status == 401
            assert answer.headers["access-control-allow-origin"] == PAGE
        async with Stream.request(port, request("OPTIONS", port, "/sse", Origin=PAGE)) as answer:
            assert answer.status == 204
            assert "Last-Event-ID" in answer.headers["access-control-allow-headers"]


async def test_without_redis_a_ticket_cannot_be_checked(redis_server: RedisSite, keys: Keys, tmp_path: Any) -> None:
    with EmbeddedRedis(tmp_path) as own:
        async with serving(own.url, keys) as (node, port):
            own.kill()
            await eventually(lambda: not node.pipe.up)
            async with Stream.get(port, "/sse?ticket=tkt_x") as answer:
                assert answer.status == 503
                assert int(answer.headers["retry-after"]) > 0
            own.start()
            await node.pipe.wait_up(30)


class Still(Herd):
    """For whom all come in one moment."""

    __slots__ = ()

    def admit(self, now: float) -> bool:
        return super().admit(1_000.0)


async def test_streams_count_as_handshakes_of_a_herd_do(
    redis_server: RedisSite, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "Herd", Still)
    async with serving(redis_server.url, keys, handshakes_per_second=3) as (node, port):
        refused = []
        for number in range(12):
            way = "/sse" if number % 2 else "/connection/sse?cf_connect=%7B%22id%22%3A1%7D"
            async with Stream.get(port, way, **bearer()) as stream:
                if stream.status == 503:
                    refused.append(int(stream.headers["retry-after"]))
        assert len(refused) == 9
        assert all(1 <= wait <= 31 for wait in refused)
        assert node.stats.turned_away == len(refused)
