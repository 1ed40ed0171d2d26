"""`/connection/http_stream` of a real node: the same session as lines of JSON."""

from __future__ import annotations

import asyncio

import pytest

from bus.keys import Keys
from tests.gateway.stand import Producer
from tests.gateway.streams import Stream, commands, connecting, eventually, request, say, serving
from tests.servers import RedisSite

PATH = "/connection/http_stream"


async def test_a_session_goes_over_lines_of_json(redis_server: RedisSite, keys: Keys) -> None:
    begin = connecting("alice", {"id": 2, "subscribe": {"channel": "news:1"}})
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.post(port, PATH, begin, Content_Type="application/json") as stream,
    ):
        assert stream.status == 200
        assert stream.headers["content-type"] == "application/json; charset=utf-8"
        assert stream.headers["x-accel-buffering"] == "no"
        connected = (await stream.line())["connect"]
        assert connected["node"] == node.id
        assert (await stream.line())["id"] == 2
        assert await say(port, connected, {"id": 3, "history": {"channel": "news:1", "limit": 1}}) == 204
        assert (await stream.line())["id"] == 3
        producer = Producer(node.pipe, keys)
        await producer.publish("news:1", {"x": 1})
        await producer.notify("alice", {"n": 1})
        assert (await stream.line())["push"]["pub"]["data"] == {"x": 1}
        assert (await stream.line())["push"]["channel"] == "inbox"
        assert await stream.line() == {}  # the ping that asks for a receipt
        await node.service.drain()
        assert await stream.line() == {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
        await stream.rest()
        assert stream.ended


async def test_a_body_may_be_as_long_as_a_message(redis_server: RedisSite, keys: Keys) -> None:
    begin = connecting("alice")
    async with serving(redis_server.url, keys, message_bytes=len(begin)) as (node, port):
        async with Stream.post(port, PATH, begin) as stream:
            assert "client" in (await stream.line())["connect"]
        async with Stream.post(port, PATH, begin + b"\n") as answer:
            assert answer.status == 413
            await answer.problem()
        # Chunked, so that the length is not announced.
        chunked = request("POST", port, PATH, Transfer_Encoding="chunked")
        for _ in range(3):
            chunked += b"%x\r\n%b\r\n" % (len(begin), begin)
        async with Stream.request(port, chunked + b"0\r\n\r\n") as answer:
            assert answer.status == 413
        assert node.stats.opened == 1


async def test_a_body_that_does_not_come_is_not_waited_for(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys, connect_timeout=0.2) as (node, port),
        Stream.request(port, request("POST", port, PATH, b"x" * 100)[:-50]) as answer,
    ):
        assert answer.status == 408
        assert node.stats.opened == 0


async def test_a_client_that_goes_before_its_body_is_complete_is_no_error(
    redis_server: RedisSite, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("POST", port, PATH, b"x" * 100)[:-50])
        await writer.drain()
        writer.close()
        async with Stream.post(port, PATH, connecting("alice")) as stream:
            await stream.line()
        await eventually(lambda: node.stats.connections == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_protobuf_is_refused(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.post(port, PATH, b"\x08\x01", Content_Type="application/octet-stream") as answer,
    ):
        assert answer.status == 415
        await answer.problem()


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_other_methods_are_refused(redis_server: RedisSite, keys: Keys, method: str) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.request(port, request(method, port, PATH)) as answer,
    ):
        assert answer.status == 405
        assert answer.headers["allow"] == "POST, OPTIONS"


async def test_what_a_client_sends_behind_its_request_means_nothing(redis_server: RedisSite, keys: Keys) -> None:
    behind = request("POST", 0, PATH, commands({"id": 1, "rpc": {}})) + b"\x00garbage" * 1_000
    async with (
        serving(redis_server.url, keys) as (node, port),
        Stream.post(port, PATH, connecting("alice")) as stream,
    ):
        await stream.line()
        stream.writer.write(behind)
        await Producer(node.pipe, keys).notify("alice", {"n": 1})
        assert (await stream.line())["push"]["pub"]["data"] == {"n": 1}
        assert node.stats.messages == 1
