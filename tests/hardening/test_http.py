"""What comes by HTTP: texts that would forge something, bodies that are none, unread streams, borrowed sessions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from tests.gateway.streams import Stream, cf_connect, commands, connecting, say
from tests.hardening.conftest import PLANTED
from tests.hardening.peers import Peer, memory_of, undisturbed
from tests.system import KEY, Gateway, System, token

pytestmark = pytest.mark.slow

NASTY = (
    "data: x\n\nevent: forged\ndata: y\n\n",
    "\r\nid: 7\r\nretry: 1\r\n\r\n",
    "\rdata: x\r\r",
    "0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    "\x00\x01\x1b[2J\x7f",
    "\u2028\u2029\u0085\ufeff",
    "\u202egnp.exe \U0001f4a3 \U0010ffff",
    "<script>alert(1)</script><!--",
    "{{7*7}} {{ ''.__class__ }} ${jndi:x}",
    '"}\n{"push":{"channel":"inbox","pub":{"data":"forged"}}}',
    "' OR '1'='1\\",
    "%0d%0aBcc: x@example.org",
    "}}{}{*#@",
)


@asynccontextmanager
async def api(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"x-api-key": KEY, "content-type": "application/json"}
    async with httpx.AsyncClient(base_url=gateway.origin, headers=headers, trust_env=False, timeout=30) as client:
        yield client


# Events ------------------------------------------------------------------------------------------------------------


async def publication_of(hear: Callable[[], Awaitable[Any]]) -> dict[str, Any]:
    """The next publication on a wire, past the ping that asks for a receipt of the one before."""
    while not (said := await hear()):
        pass
    found: dict[str, Any] = said["push"]["pub"]
    return found


async def test_texts_stay_texts_on_every_wire(running: System) -> None:
    """Line ends, NUL, JSON within JSON: each arrives as it was sent, in one event, and forges nothing."""
    gateway = running.gateways[0]
    bearer = {"Authorization": f"Bearer {token('nasty')}"}
    async with (
        asyncio.timeout(60),
        api(gateway) as client,
        Peer.connected(gateway, "nasty") as socket,
        Stream.get(gateway.port, "/sse", **bearer) as plain,
        Stream.get(gateway.port, cf_connect("nasty")) as events,
        Stream.post(gateway.port, "/connection/http_stream", connecting("nasty")) as lines,
    ):
        await plain.event("tocsin.ready")
        assert "connect" in await events.data()
        assert "connect" in await lines.line()
        for number, text in enumerate(NASTY, 1):
            event = {"type": "note", "to": {"users": ["nasty"]}, "title": text, "body": text, "data": {text: [text]}}
            assert (await client.post("/v1/events", json=event)).status_code == 202
            heard = [await publication_of(hear) for hear in (socket.hear, events.data, lines.line)]
            heard.append(await plain.data())
            for publication in heard:
                assert publication["offset"] == number
                shown = publication["data"]
                assert (shown["title"], shown["body"], shown["data"]) == (text, text, {text: [text]})
        assert {event.type for event in plain.browser.events} == {"tocsin.ready", "message"}
        assert plain.browser.retry == 1_000


@pytest.mark.parametrize("field", ["id", "source", "type", "key", "category", "collapse_key"])
async def test_names_have_no_line_ends(running: System, field: str) -> None:
    gateway = running.gateways[0]
    async with asyncio.timeout(30), api(gateway) as client:
        for text in ("a\r\nevent: forged", "a\x00", " a", "", "x" * 129, 7, ["a"], {"a": 1}):
            event = {"type": "note", "to": {"users": ["alice"]}, field: text}
            answer = await client.post("/v1/events", json=event)
            assert answer.status_code == 400
            assert [fault["pointer"] for fault in answer.json()["errors"]] == [f"/{field}"]
            assert "forged" not in answer.text


BODIES: dict[str, tuple[bytes, dict[str, str], int]] = {
    "nothing": (b"", {}, 400),
    "rubbish": (PLANTED.encode(), {}, 400),
    "not UTF-8": (b'{"type":"\xff"}', {}, 400),
    "deep": (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", {}, 400),
    "a huge number": (b'{"type":"note","to":{"users":["a"]},"data":' + b"9" * 5_000 + b"}", {}, 400),
    "no event": (b"[]", {}, 400),
    "no events": (b'{"events":[]}', {}, 400),
    "1,001 events": (b'{"events":[' + b"{}," * 1_000 + b"{}]}", {}, 400),
    "events and more": (b'{"events":[{}],"x":1}', {}, 400),
    "over 64 KiB": (
        json.dumps({"type": "note", "to": {"users": ["a"]}, "data": PLANTED * 10_000}).encode(),
        {},
        413,
    ),
    "over a megabyte": (b" " * 1_100_000, {}, 413),
    "packed": (b"\x1f\x8b\x08" + bytes(100), {"content-encoding": "gzip"}, 415),
    "a form": (b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415),
    "parts": (b"--x\r\n\r\n--x--", {"content-type": "multipart/form-data; boundary=x"}, 415),
    "another charset": (b"{}", {"content-type": "application/json; charset=utf-7"}, 415),
    "a stranger": (b"{}", {"x-api-key": PLANTED}, 401),
    "no key": (b"{}", {"x-api-key": ""}, 401),
    "a key too long": (b"{}", {"x-api-key": PLANTED * 1_000}, 401),
    "an Idempotency-Key too long": (b"{}", {"idempotency-key": PLANTED * 100}, 400),
}


async def test_bodies_that_are_none(running: System) -> None:
    gateway = running.gateways[0]
    wrong = {}
    async with undisturbed(running), memory_of(gateway, 25_000_000), api(gateway) as client:
        for name, (body, headers, status) in BODIES.items():
            answer = await client.post("/v1/events", content=body, headers=headers)
            fine = answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
            if not fine or PLANTED in answer.text or len(answer.content) > 5_000:
                wrong[name] = (answer.status_code, answer.text[:200])
    assert wrong == {}


# Streams -----------------------------------------------------------------------------------------------------------


async def test_a_stream_that_nobody_reads_is_cut_off_and_resumed(running: System) -> None:
    gateway = running.gateways[0]
    bearer = {"Authorization": f"Bearer {token('reader')}"}

    async def publish(client: httpx.AsyncClient, number: int, fast: Peer) -> None:
        """Once who reads has it, it was also written to who does not."""
        event = {"type": "note", "to": {"topics": ["room:stream"]}, "data": {"n": number, "body": "x" * 16_000}}
        assert (await client.post("/v1/events", json=event)).status_code == 202
        assert (await fast.hear())["push"]["pub"]["data"]["data"]["n"] == number

    async with (
        undisturbed(running) as healthy,
        memory_of(gateway, 20_000_000),
        api(gateway) as client,
        Peer.connected(gateway, "fast") as fast,
    ):
        await fast.command("subscribe", channel="room:stream")
        async with Stream.get(gateway.port, "/sse?topic=room:stream", **bearer) as stream:
            await stream.event("tocsin.ready")
            await publish(client, 0, fast)
            await stream.event()  # of the others its kernel may take none
            read = len(stream.body)
            stream.writer.transport.pause_reading()
            for number in range(1, 100):
                await publish(client, number, fast)
            await healthy.served()
            stream.writer.transport.resume_reading()
            try:
                while await stream.more():
                    pass
            except (ConnectionError, asyncio.IncompleteReadError):
                pass  # it took us too long to get here
            stream.browser.feed(stream.body[read:])
            place = stream.browser.last_event_id
            got = [
                json.loads(event.data)["data"]["data"]["n"]
                for event in stream.browser.events
                if event.type == "message"
            ]
        assert len(got) < 100
        async with Stream.get(gateway.port, "/sse?topic=room:stream", Last_Event_ID=place, **bearer) as stream:
            while len(got) < 100:
                got.append((await stream.data())["data"]["data"]["n"])
        assert got == list(range(100))


async def test_a_session_of_a_stream_is_nobody_elses(running: System) -> None:
    """Who would speak for a stream has to know its secret, which no other client is ever told."""
    gateway = running.gateways[0]
    async with asyncio.timeout(30), Stream.get(gateway.port, cf_connect("alice")) as stream:
        own = (await stream.data())["connect"]
        assert own["session"] != own["client"]
        history = {"id": 2, "history": {"channel": "inbox"}}
        for changes in (
            {"session": own["client"]},
            {"session": own["session"][:-1]},
            {"session": own["session"] + "\x00"},
            {"session": PLANTED},
            {"node": "0" * 12},
            {"node": "*"},
            {"node": "../x"},
        ):
            assert await say(gateway.port, {**own, **changes}, history) == 404
        assert await say(gateway.port, own, history) == 204
        assert (await stream.data())["id"] == 2
    assert await gone(gateway, own) == 404


async def gone(gateway: Gateway, own: dict[str, Any]) -> int:
    """The status once the node has noticed that the stream has ended."""
    async with asyncio.timeout(30):
        while (status := await say(gateway.port, own, {"id": 3, "rpc": {"method": "x"}})) == 204:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"session":7,"node":"x","data":"{}"}', 400),
        (b'{"session":"x","node":"x","data":{}}', 400),
        (b'{"session":"x","node":"x"}', 400),
        (b'{"session":"' + b"x" * 200 + b'","node":"x","data":"{}"}', 400),
        (b'{"session":"x","node":"x","data":"' + b"x" * 70_000 + b'"}', 413),
        (b" " * 200_000, 413),
    ],
)
async def test_emulation_of_nothing(running: System, body: bytes, status: int) -> None:
    async with asyncio.timeout(30), Stream.post(running.gateways[0].port, "/emulation", body) as answer:
        assert answer.status == status
        await answer.problem()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/connection/sse", 400),
        ("/connection/sse?cf_connect=", 400),
        ("/connection/sse?cf_connect=%7B%7D&cf_connect=%7B%7D", 400),
        ("/sse?topics=room:*&ticket=x", 400),
        (f"/sse?ticket=tkt_{PLANTED}", 401),
        ("/sse?" + "&".join(f"topic=room:{n}" for n in range(100)), 400),
        ("/sse?" + "topic=room:a&" * 2_000, 431),
        ("/sse?topics=" + ",".join(f"room:{n}" for n in range(100)), 400),
        ("/sse?topics=@bob", 400),
        ("/sse?topics=secret:a", 403),
        ("/../../etc/passwd", 404),
        ("/web/..%2f..%2fpyproject.toml", 404),
        ("//evil.example/", 404),
        ("/v1/events", 405),
    ],
)
async def test_addresses_that_lead_nowhere(running: System, path: str, status: int) -> None:
    headers = {} if "ticket" in path else {"Authorization": f"Bearer {token('mallory')}"}
    async with asyncio.timeout(30), Stream.get(running.gateways[0].port, path, **headers) as answer:
        assert answer.status == status
        assert PLANTED not in str(await answer.problem())


async def test_nonsense_in_a_stream_ends_it_in_good_order(running: System) -> None:
    gateway = running.gateways[0]
    async with undisturbed(running), asyncio.timeout(30):
        for said, code in (
            (commands({"id": 1, "subscribe": {"channel": "room:a"}}), 3501),
            (b"{", 3501),
            (connecting("mallory") + b"\n[]", 3501),
            (commands({"id": 1, "connect": {"token": PLANTED}}), 3500),
        ):
            async with Stream.post(gateway.port, "/connection/http_stream", said) as stream:
                assert stream.status == 200
                while await stream.more():
                    pass
                assert stream.ended
                last = json.loads(stream.body.splitlines()[-1])
                assert last["push"]["disconnect"]["code"] == code
