"""The fallbacks of real processes: gateways that are told to go and gateways that are killed, and clients that come
back to another with no more than the id of the last event they read."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest

from tests.gateway.streams import Stream, connecting, say
from tests.sdk.system import GatewayProcess, System

pytestmark = pytest.mark.slow
LIMIT = 120.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System.running(tmp_path_factory.mktemp("live")) as running:
        yield running


def told_by(stream: Stream) -> list[Any]:
    """Data of all notifications that a stream has told."""
    messages = [event for event in stream.browser.events if event.type == "message"]
    return [orjson.loads(event.data)["data"]["data"] for event in messages]


async def read_until(stream: Stream, number: int) -> None:
    while told_by(stream)[-1:] < [number]:
        await stream.event()


async def next_but_pings(read: Callable[[], Awaitable[Any]], port: int, connected: dict[str, Any]) -> Any:
    """The next message; pings that come before it, as they may at any time, are answered through another node."""
    while (said := await read()) == {}:
        await say(port, connected, {})
    return said


async def restart(gateway: GatewayProcess) -> None:
    gateway.start()
    await asyncio.to_thread(gateway.await_ready)


async def test_a_ticket_opens_a_stream(system: System) -> None:
    async with asyncio.timeout(LIMIT), httpx.AsyncClient() as client:
        headers = {"Authorization": f"Bearer {system.token('ann')}"}
        answer = await client.post(f"{system.other.url}/v1/ticket", headers=headers)
        ticket = answer.json()["ticket"]
        async with Stream.get(system.gateway.port, f"/sse?topics=news:a&ticket={ticket}") as stream:
            await stream.event("tocsin.ready")
            system.publish(to={"users": ["ann"]}, title="T", data="\r\n\r\ndata: x\n")
            notification = (await stream.data())["data"]
            assert (notification["title"], notification["data"]) == ("T", "\r\n\r\ndata: x\n")
        async with Stream.get(system.gateway.port, f"/sse?ticket={ticket}") as again:
            assert again.status == 401


async def test_a_gateway_that_is_told_to_go_ends_its_streams_in_order(system: System) -> None:
    headers = {"Authorization": f"Bearer {system.token('bob')}"}
    begin = connecting("bob")
    async with (
        asyncio.timeout(LIMIT),
        Stream.get(system.gateway.port, "/sse", **headers) as events,
        Stream.post(system.gateway.port, "/connection/sse", begin) as sse,
        Stream.post(system.gateway.port, "/connection/http_stream", begin) as lines,
    ):
        await events.event("tocsin.ready")
        connected, other = (await sse.data())["connect"], (await lines.line())["connect"]
        ending = asyncio.to_thread(system.gateway.end)
        async with asyncio.TaskGroup() as group:
            group.create_task(ending)
            assert await events.data("tocsin.disconnect") == {"code": 3001, "reason": "shutdown"}
            for read, client in ((sse.data, connected), (lines.line, other)):
                last = {"push": {"disconnect": {"code": 3001, "reason": "shutdown"}}}
                assert await next_but_pings(read, system.other.port, client) == last
            for stream in (events, sse, lines):
                await stream.rest()
                assert stream.ended
        await restart(system.gateway)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_nothing_is_lost_or_told_twice_when_a_gateway_ends(system: System, how: signal.Signals) -> None:
    """A hundred notifications, one after the other; amid them the client's gateway ends, and it goes to the other."""
    user, total = f"cat-{how.name}", 100
    headers = {"Authorization": f"Bearer {system.token(user)}"}

    def publish() -> None:
        for number in range(total):
            system.publish(to={"users": [user]}, data=number)

    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        async with Stream.get(system.gateway.port, "/sse", **headers) as stream:
            await stream.event("tocsin.ready")
            group.create_task(asyncio.to_thread(publish))
            await read_until(stream, 20)
            await asyncio.to_thread(system.gateway.end, how)
            if how is signal.SIGTERM:
                assert (await stream.data("tocsin.disconnect"))["code"] == 3001
            else:
                with pytest.raises((AssertionError, asyncio.IncompleteReadError, ConnectionError)):
                    await stream.event("tocsin.disconnect")
            told, id = told_by(stream), stream.browser.last_event_id
        async with Stream.get(system.other.port, "/sse", Last_Event_ID=id, **headers) as stream:
            await read_until(stream, total - 1)
            told += told_by(stream)
    assert told == list(range(total))
    await restart(system.gateway)
