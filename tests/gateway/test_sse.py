"""`/connection/sse` of a real node: a session over an event stream, as the SDKs use it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson
import pytest

from bus.keys import Keys
from gateway.wire.codes import Disconnect
from tests.gateway.stand import Producer, token
from tests.gateway.streams import Stream, cf_connect, commands, connecting, eventually, request, say, serving
from tests.servers import RedisSite

PAGE = "https://app.example"


async def test_a_session_begins_in_the_query_and_goes_on_by_post(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.get(port, cf_connect("alice", {"id": 2, "subscribe": {"channel": "news:1"}})) as stream,
    ):
        connected = (await stream.data())["connect"]
        assert connected["node"] == node.id
        assert connected["session"] not in ("", connected["client"])
        assert (await stream.data())["id"] == 2
        assert await say(port, connected, {"id": 3, "rpc": {"method": "none"}}) == 204
        assert (await stream.data())["id"] == 3
        await Producer(node.pipe, keys).publish("news:1", {"x": 1})
        assert (await stream.data())["push"]["pub"]["data"] == {"x": 1}


async def test_the_bytes_are_those_of_the_protocol(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.get(port, cf_connect("alice"), Accept="text/event-stream") as stream,
    ):
        assert stream.status == 200
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert stream.headers["cache-control"] == "no-store, no-transform"
        assert stream.headers["x-accel-buffering"] == "no"
        assert stream.headers["transfer-encoding"] == "chunked"
        assert stream.headers["connection"] == "close"
        assert "date" in stream.headers
        reply = await stream.event()
        assert stream.body == b"\r\ndata: " + reply.data.encode() + b"\n\n"


async def test_a_body_does_as_well_as_a_query(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.post(port, "/connection/sse", connecting("alice")) as stream,
    ):
        assert "client" in (await stream.data())["connect"]


async def test_a_ping_is_answered_by_post_and_missed_when_it_is_not(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port), Stream.get(port, cf_connect("alice")) as stream:
        connected = (await stream.data())["connect"]
        [session] = [c.session for topic in node.service.hub.topics.values() for c in topic.members]
        [connection] = node.service.hub.topics["@alice"].members
        node.service.act(connection, session.ping(node.clock.wall()))
        assert await stream.data() == {}
        assert await say(port, connected, {}) == 204
        assert session.overdue_pong(node.clock.wall()) == ()
        node.service.act(connection, session.ping(node.clock.wall()))
        node.service.act(connection, session.overdue_pong(node.clock.wall()))
        assert await stream.data() == {}
        assert (await stream.data())["push"]["disconnect"]["code"] == Disconnect.NO_PONG.value.code
        await stream.rest()
        assert stream.ended


async def test_a_drain_says_why_and_ends_the_body_in_order(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        async with Stream.get(port, cf_connect("alice")) as stream:
            await stream.data()
            await node.service.drain()
            assert await stream.data() == {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
            await stream.rest()
            assert stream.ended
        async with Stream.get(port, cf_connect("alice")) as refused:
            assert refused.status == 503
            assert int(refused.headers["retry-after"]) > 0
            await refused.problem()


async def test_what_begins_wrongly_is_told_within_the_stream(redis_server: RedisSite, keys: Keys) -> None:
    first: dict[str, Any] = {"id": 1, "subscribe": {"channel": "news:1"}}
    async with serving(redis_server.url, keys) as (_, port):
        for begin in (commands(first), b"no json", b"{}"):
            async with Stream.post(port, "/connection/sse", begin) as stream:
                assert (await stream.data())["push"]["disconnect"]["code"] == 3501
                await stream.rest()
                assert stream.ended
        bad = commands({"id": 1, "connect": {"token": "x"}})
        async with Stream.post(port, "/connection/sse", bad) as stream:
            assert (await stream.data())["push"]["disconnect"]["code"] == 3500


async def test_a_client_that_goes_leaves_nothing_behind(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        async with Stream.get(port, cf_connect("alice")) as stream:
            await stream.data()
            assert node.stats.connections == 1
        await eventually(lambda: not (node.stats.connections or node.service.hub.topics))
        async with Stream.get(port, cf_connect("alice")) as stream:
            await stream.data()
            stream.writer.transport.abort()
            await eventually(lambda: node.stats.connections == 0)


async def test_a_client_that_does_not_read_is_closed_as_slow(redis_server: RedisSite, keys: Keys) -> None:
    subscribe = {"id": 2, "subscribe": {"channel": "news:1"}}
    async with serving(redis_server.url, keys, outbox_bytes=100_000) as (node, port):
        reading = Stream.get(port, cf_connect("bob", subscribe))
        async with Stream.get(port, cf_connect("alice", subscribe)) as slow, reading as healthy:
            for stream in (slow, healthy):
                assert [(await stream.data())["id"] for _ in range(2)] == [1, 2]
            slow.writer.transport.pause_reading()
            producer, text = Producer(node.pipe, keys), "x" * 60_000
            for number in range(20):
                await producer.publish("news:1", f"{number} {text}")
                assert (await healthy.data())["push"]["pub"]["data"].startswith(f"{number} ")
            slow.writer.transport.resume_reading()
            await slow.rest()
            assert slow.ended
            events = slow.body.removesuffix(b"\n\n").split(b"\n\n")
            assert len(events) < 20
            assert events[-1] == b'data: {"push":{"disconnect":{"code":3008,"reason":"slow"}}}'
            await eventually(lambda: node.stats.closed[Disconnect.SLOW.value.code] == 1)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/connection/sse", 400),
        ("/connection/sse?cf_connect=", 400),
        ("/connection/sse?cf_connect=a&cf_connect=b", 400),
        ("/connection/sse?cf_connect=" + "x" * 2_001, 413),
    ],
)
async def test_a_bad_query_is_refused(redis_server: RedisSite, keys: Keys, target: str, status: int) -> None:
    async with serving(redis_server.url, keys, message_bytes=2_000) as (node, port):
        async with Stream.get(port, target) as answer:
            assert answer.status == status
            await answer.problem()
        assert node.stats.opened == 0


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
async def test_other_methods_are_refused(redis_server: RedisSite, keys: Keys, method: str) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.request(port, request(method, port, cf_connect("alice"))) as answer,
    ):
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, POST, OPTIONS"


async def test_http_1_0_cannot_have_a_stream(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (_, port):
        old = request("GET", port, cf_connect("alice")).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        async with Stream.request(port, old) as answer:
            assert answer.status == 400
            assert "proxy_http_version 1.1" in (await answer.problem())["detail"]


async def test_pages_of_allowed_origins_alone(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys, allowed_origins=(PAGE,)) as (_, port):
        target = cf_connect("alice")
        async with Stream.get(port, target, Origin=PAGE) as stream:
            assert stream.headers["access-control-allow-origin"] == PAGE
            assert stream.headers["vary"] == "Origin"
            assert "client" in (await stream.data())["connect"]
        async with Stream.get(port, target, Origin=f"http://127.0.0.1:{port}") as stream:
            assert stream.status == 200
        for foreign in ("https://evil-app.example", "https://app.example.evil", "null", "https://app.example:8443"):
            async with Stream.get(port, target, Origin=foreign) as answer:
                assert answer.status == 403
                assert "access-control-allow-origin" not in answer.headers
        twice = request("GET", port, target, Origin=PAGE, origin="https://evil.example")
        async with Stream.request(port, twice) as answer:
            assert answer.status == 403
        async with Stream.request(port, request("OPTIONS", port, "/connection/sse", Origin=PAGE)) as answer:
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == PAGE
            assert answer.headers["access-control-allow-methods"] == "GET, POST, OPTIONS"
            assert "Content-Type" in answer.headers["access-control-allow-headers"]
        async with Stream.get(port, "/connection/sse", Origin=PAGE) as answer:
            assert answer.status == 400
            assert answer.headers["access-control-allow-origin"] == PAGE


async def test_a_missed_notification_is_recovered_in_connect(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        producer = Producer(node.pipe, keys)
        async with Stream.get(port, cf_connect("alice")) as stream:
            inbox = (await stream.data())["connect"]["subs"]["inbox"]
        await producer.notify("alice", {"n": 1})
        subs = {"inbox": {"recover": True, "epoch": inbox["epoch"], "offset": inbox.get("offset", 0)}}
        async with Stream.get(port, cf_connect("alice", subs=subs)) as stream:
            back = (await stream.data())["connect"]["subs"]["inbox"]
            assert back["recovered"] is True
            assert [p["data"] for p in back["publications"]] == [{"n": 1}]


async def test_text_survives_the_way_through_the_query(redis_server: RedisSite, keys: Keys) -> None:
    text = "Grüße, 世界 + & = % \u2028 \\n"
    publish = {"id": 3, "publish": {"channel": "room:1", "data": text}}
    begin = orjson.dumps({"id": 1, "connect": {"token": token("alice")}}) + b"\n" + orjson.dumps(publish)
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.get(port, "/connection/sse?cf_connect=" + quote(begin)) as stream,
    ):
        await stream.data()
        assert await stream.data() == {"id": 3, "publish": {}}
