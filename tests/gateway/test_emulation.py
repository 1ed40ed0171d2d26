"""`POST /emulation` of real nodes: what clients of the fallbacks say reaches their stream, whatever node hears it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.keys import Keys
from gateway.api.problem import Kind, Refusal
from gateway.emulation import Emulated, parse
from tests.gateway.stand import Producer
from tests.gateway.streams import Stream, cf_connect, connecting, eventually, request, say, serving
from tests.servers import RedisSite
from tocsin.embedded import EmbeddedRedis

LIMIT = 1_000
GOOD = {"session": "s", "node": "n", "data": "{}"}


# Reading the body ----------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=100), st.text(min_size=1, max_size=250))
def test_a_message_is_read_as_it_was_written(session: str, node: str, data: str) -> None:
    try:
        body = orjson.dumps({"session": session, "node": node, "data": data, "more": 1})
    except orjson.JSONEncodeError:
        return  # lone surrogates are no text
    assert parse(body, LIMIT) == Emulated(session, node, data.encode())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        *(orjson.dumps({k: v for k, v in GOOD.items() if k != name}) for name in GOOD),
        *(orjson.dumps(GOOD | {name: wrong}) for name in GOOD for wrong in ("", 1, None, ["x"], {})),
        orjson.dumps(GOOD | {"session": "x" * 129}),
        orjson.dumps(GOOD | {"node": "x" * 129}),
        b'{"session":"s","node":"n","data":"\\ud800"}',
    ],
)
def test_what_is_no_message_is_a_bad_request(body: bytes) -> None:
    refusal = parse(body, LIMIT)
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.BAD_REQUEST


def test_a_message_that_is_too_long_is_too_large() -> None:
    assert isinstance(parse(orjson.dumps(GOOD | {"data": "x" * LIMIT}), LIMIT), Emulated)
    refusal = parse(orjson.dumps(GOOD | {"data": "é" * LIMIT}), LIMIT)
    assert isinstance(refusal, Refusal)
    assert refusal.kind is Kind.TOO_LARGE


@given(st.binary(max_size=300))
def test_nothing_that_a_client_sends_raises(body: bytes) -> None:
    parse(body, LIMIT)


# Passing it on -------------------------------------------------------------------------------------------------------


async def test_any_node_takes_what_is_meant_for_another(redis_server: RedisSite, keys: Keys) -> None:
    """Two nodes; the stream is on one, all that the client says goes to the other."""
    async with (
        serving(redis_server.url, keys) as (node, port),
        serving(redis_server.url, keys) as (other, other_port),
        Stream.get(port, cf_connect("alice")) as stream,
    ):
        connected = (await stream.data())["connect"]
        assert connected["node"] == node.id != other.id
        assert await say(other_port, connected, {"id": 2, "subscribe": {"channel": "news:1"}}) == 204
        assert (await stream.data())["id"] == 2
        many: list[dict[str, Any]] = [{"id": n, "rpc": {"method": f"é{n}"}} for n in range(3, 20)]
        assert await say(other_port, connected, *many) == 204
        assert [(await stream.data())["id"] for _ in many] == list(range(3, 20))
        await Producer(other.pipe, keys).publish("news:1", {"x": 1})
        assert (await stream.data())["push"]["pub"]["data"] == {"x": 1}
        assert other.stats.opened == 0


async def test_both_streams_of_one_user_are_told_apart(redis_server: RedisSite, keys: Keys) -> None:
    async with (
        serving(redis_server.url, keys) as (_, port),
        Stream.get(port, cf_connect("alice")) as one,
        Stream.post(port, "/connection/http_stream", connecting("alice")) as two,
    ):
        first, second = (await one.data())["connect"], (await two.line())["connect"]
        assert first["session"] != second["session"]
        assert await say(port, second, {"id": 7, "rpc": {"method": "x"}}) == 204
        assert await say(port, first, {"id": 8, "rpc": {"method": "x"}}) == 204
        assert (await one.data())["id"] == 8
        assert (await two.line())["id"] == 7


async def test_a_session_that_is_not_there_is_not_found(redis_server: RedisSite, keys: Keys) -> None:
    async with serving(redis_server.url, keys) as (node, port):
        async with Stream.get(port, cf_connect("alice")) as stream:
            connected = (await stream.data())["connect"]
            # The client id is known to others, who must not be able to speak for it.
            assert await say(port, connected | {"session": connected["client"]}, {}) == 404
            assert await say(port, connected | {"node": "none"}, {}) == 404
            assert await say(port, connected | {"node": "a:b{c}\n"}, {}) == 404
            await node.service.drain()
            await stream.rest()
        assert await say(port, connected, {}) == 404


@pytest.mark.parametrize(("body", "status"), [(b"{}", 400), (b'{"session":"' + b"x" * 5_000 + b'"}', 413), (b"", 400)])
async def test_a_bad_body_is_refused(redis_server: RedisSite, keys: Keys, body: bytes, status: int) -> None:
    async with serving(redis_server.url, keys, message_bytes=2_000) as (_, port):
        async with Stream.post(port, "/emulation", body, Content_Type="application/json") as answer:
            assert answer.status == status
            await answer.problem()
        async with Stream.request(port, request("GET", port, "/emulation")) as answer:
            assert answer.status == 405


async def test_a_page_may_ask_before_it_posts(redis_server: RedisSite, keys: Keys) -> None:
    page = "https://app.example"
    asking = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "content-type"}
    async with serving(redis_server.url, keys, allowed_origins=(page,)) as (_, port):
        async with Stream.request(port, request("OPTIONS", port, "/emulation", Origin=page, **asking)) as answer:
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == page
        foreign = request("OPTIONS", port, "/emulation", Origin="https://other.example", **asking)
        async with Stream.request(port, foreign) as answer:
            assert answer.status == 403


async def test_without_redis_only_streams_of_the_same_node_can_be_reached(keys: Keys, tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as own:
        async with serving(own.url, keys) as (node, port), Stream.get(port, cf_connect("alice")) as stream:
            connected = (await stream.data())["connect"]
            own.kill()
            await eventually(lambda: not node.pipe.up)
            assert await say(port, connected | {"node": "other"}, {}) == 503
            assert await say(port, connected, {"id": 2, "rpc": {"method": "x"}}) == 204
            assert (await stream.data())["id"] == 2
            own.start()
            await node.pipe.wait_up(30)
