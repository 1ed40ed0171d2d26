"""Too much of everything, over real sockets: it costs who sends it the connection, the node next to nothing, and a
healthy client nothing at all."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import orjson
import pytest
from websockets.frames import Opcode

from tests.gateway.echo import UPGRADE, Raw, masked
from tests.hardening.conftest import PLANTED
from tests.hardening.peers import Peer, memory_of, undisturbed
from tests.system import KEY, Gateway, System, problem_of, token

pytestmark = pytest.mark.slow

MB = 1_000_000
SECONDS = 30.0
SENT = 100
"""Publications of 16 KB for one who does not read: six times what may wait for it."""


@asynccontextmanager
async def raw(gateway: Gateway) -> AsyncIterator[Raw]:
    """Dropped at the end, whatever came of it."""
    client = Raw(*await asyncio.open_connection("127.0.0.1", gateway.port))
    try:
        yield client
    finally:
        client.writer.transport.abort()
        await asyncio.sleep(0)  # only then is the socket closed


async def flooded(client: Raw, data: bytes, total: int) -> bool:
    """Send `data` until `total` bytes of it are out; whether the server took them all."""
    try:
        async with asyncio.timeout(SECONDS):
            for _ in range(0, total, len(data)):
                await client.send(data)
    except ConnectionError:
        return False
    return True


# Heads and bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/connection/websocket", "/v1/events", f"/sse?ticket=tkt_{PLANTED}"])
@pytest.mark.parametrize("line", [b"x" * 65_536, b"X-Field: y\r\n" * 5_000], ids=["one field", "many fields"])
async def test_a_head_without_an_end(running: System, path: str, line: bytes) -> None:
    gateway = running.gateways[0]
    async with undisturbed(running) as healthy, memory_of(gateway, 15 * MB):
        begin = f"GET {path} HTTP/1.1\r\nHost: a\r\nX-Secret: {PLANTED}".encode()
        async with raw(gateway) as client:
            await client.send(begin)
            await flooded(client, line, 80 * MB)
            await healthy.served()
        async with raw(gateway) as client:
            assert (await client.ask(begin + line)).startswith(b"HTTP/1.1 431 ")


async def test_bodies_without_an_end(running: System) -> None:
    gateway = running.gateways[0]
    head = f"POST /v1/events HTTP/1.1\r\nHost: a\r\nX-Api-Key: {KEY}\r\nContent-Type: application/json\r\n".encode()
    async with undisturbed(running) as healthy, memory_of(gateway, 15 * MB):
        for begin, piece in (
            (b"Content-Length: 999999999999\r\n\r\n", PLANTED.encode() * 8_000),
            (b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65_536) + b"\r\n"),
        ):
            async with raw(gateway) as client:
                await client.send(head + begin)
                await flooded(client, piece, 80 * MB)
                await healthy.served()
        async with raw(gateway) as client:
            answer = await client.ask(head + b"Content-Length: 2000000\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 413 ")
            assert PLANTED not in str(problem_of(await client.reader.readexactly(length_of(answer))))


def length_of(head: bytes) -> int:
    return int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])


async def test_sockets_that_say_nothing_or_little(running: System) -> None:
    """They are dropped after the time for a head, a handshake without a `connect` after the time for that."""
    gateway = running.gateways[0]
    async with undisturbed(running) as healthy, memory_of(gateway, 25 * MB), AsyncExitStack() as stack:

        async def another() -> Raw:
            return await stack.enter_async_context(raw(gateway))

        silent = [await another() for _ in range(500)]
        slow, mute = list[Raw](), list[Raw]()
        # Whoever says something says it at once: those before it may have taken as long as a head may take.
        for _ in range(20):
            slow.append(await another())
            await slow[-1].send(UPGRADE[:40])
        for _ in range(200):
            mute.append(await another())
            assert (await mute[-1].ask(UPGRADE)).startswith(b"HTTP/1.1 101 ")
        await healthy.served()
        assert {await client.rest() for client in silent} == {b""}
        assert {(await client.rest())[:13] for client in slow} == {b"HTTP/1.1 408 "}
        assert {await client.close_code() for client in mute} == {3502}


# Frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flood", "total", "code"),
    [
        (masked(b"", fin=False) + masked(b"", Opcode.CONT, fin=False) * 100_000, 1_000_000 * 6, 1009),
        (masked(PLANTED.encode() * 10_000), MB, 1009),
        (masked(b"x" * 125, Opcode.PING) * 1_000, 40 * MB, 3013),
        (masked(b"x" * 125, Opcode.PONG) * 1_000, 40 * MB, 3013),
        (b"\x81\xff\x40" + bytes(11) + PLANTED.encode() * 10_000, 40 * MB, 1009),
        (b"\x81\xff\xff" + bytes(11) + PLANTED.encode() * 10_000, 40 * MB, 1002),
        (b"\xc1\xfe\xff\xff" + bytes(4) + bytes(65_535), 40 * MB, 1002),
        (masked(b"{}\n" * 20_000), 40 * MB, 3501),
        (masked(b'{"id":1,"rpc":{"method":"%b"}}\n' % PLANTED.encode() * 1_500), 40 * MB, 3013),
    ],
    ids=["fragments", "message", "pings", "pongs", "2^62", "2^64", "compressed", "pongs of the protocol", "commands"],
)
async def test_frames_without_an_end(running: System, flood: bytes, total: int, code: int) -> None:
    """From a client that was let in, and that does not read while it sends."""
    gateway = running.gateways[0]
    async with undisturbed(running) as healthy, memory_of(gateway, 15 * MB):
        async with Peer.connected(gateway, "mallory") as peer:
            async with peer.not_reading():
                taken = await flooded(peer, flood, total)
                await healthy.served()
            # Who takes too long, or says too much after it was closed, is dropped with its close frame unread: while
            # it sends, or when the kernel had taken the rest of it.
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                assert not taken or await peer.close_code() == code
        async with Peer.connected(gateway, "mallory") as peer:
            await peer.send(flood)
            assert await peer.close_code() == code
            await peer.send(masked(struct.pack("!H", code), Opcode.CLOSE))


@pytest.mark.parametrize(
    "offer",
    [
        b"permessage-deflate",
        b"permessage-deflate; client_max_window_bits; server_max_window_bits=8",
        b"permessage-deflate; server_max_window_bits=99, permessage-deflate; server_max_window_bits=8",
        b"permessage-deflate; server_no_context_takeover; server_no_context_takeover; x=" + PLANTED.encode(),
        b"x-webkit-deflate-frame, permessage-bzip2, ;;;=,,",
        b"permessage-deflate, " * 500,
    ],
)
async def test_compression_is_never_agreed_to(running: System, offer: bytes) -> None:
    """So there is nothing to blow up: a compressed frame is one with a reserved bit."""
    gateway = running.gateways[0]
    head = UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: " + offer + b"\r\n\r\n")
    async with asyncio.timeout(30), Peer.open(gateway, head) as peer:
        assert b"extensions" not in peer.upgraded.lower()
        assert (await peer.command("connect", token=token("mallory")))["connect"]["client"]
        await peer.send(b"\xc1\x85" + bytes(4) + b"\xf2\x48\xcd\xc9\xc9")
        assert await peer.close_code() == 1002


# Commands ----------------------------------------------------------------------------------------------------------


async def test_ten_thousand_subscriptions(running: System) -> None:
    """128 are taken, more refused, and a flood of them ends the connection."""
    gateway = running.gateways[0]
    lines = [orjson.dumps({"id": n + 2, "subscribe": {"channel": f"room:{n}"}}) for n in range(10_000)]
    async with undisturbed(running) as healthy, memory_of(gateway, 15 * MB):
        async with Peer.connected(gateway, "mallory") as peer:
            await peer.say(b"\n".join(lines[:140]))
            replies = [await peer.hear() for _ in range(140)]
            assert [list(reply)[1] for reply in replies] == ["subscribe"] * 128 + ["error"] * 12
            assert {reply["error"]["code"] for reply in replies[128:]} == {106}
            await healthy.served()
            for start in range(0, len(lines), 1_000):
                await peer.say(b"\n".join(lines[start : start + 1_000]))
            assert await peer.close_code() == 3013
        await healthy.served()


async def test_many_connections_of_one_user(running: System) -> None:
    gateway = running.gateways[0]
    async with undisturbed(running), AsyncExitStack() as stack:
        for _ in range(40):
            await stack.enter_async_context(Peer.connected(gateway, "many"))
        async with Peer.open(gateway) as peer:
            assert await peer.command("connect", token=token("many")) == 3504
        async with Peer.connected(gateway, "another"):
            pass


async def test_errors_without_an_end(running: System) -> None:
    """Wrong commands at a pace that would be allowed."""
    gateway = running.gateways[0]
    wrong = b"\n".join(orjson.dumps({"id": n, "subscribe": {"channel": "@somebody"}}) for n in range(1, 201))
    async with undisturbed(running), Peer.connected(gateway, "mallory") as peer:
        await peer.say(wrong)
        heard: object = [await peer.hear() for _ in range(200)][-1]
        while not isinstance(heard, int):
            heard = await peer.command("subscribe", channel="@somebody")
            await asyncio.sleep(0.025)
        assert heard == 3509


# Not reading -------------------------------------------------------------------------------------------------------


async def test_who_never_reads_is_cut_off_and_recovers(running: System) -> None:
    gateway = running.gateways[0]
    body = "x" * 16_000

    async def slow_ones() -> float:
        return await asyncio.to_thread(gateway.metric, "tocsin_gateway_closed_total", "3008")

    async with undisturbed(running) as healthy, memory_of(gateway, 20 * MB), Peer.connected(gateway, "fast") as fast:
        await fast.command("subscribe", channel="room:flood")
        before, got = await slow_ones(), []
        async with Peer.connected(gateway, "slow") as slow:
            start = (await slow.command("subscribe", channel="room:flood"))["subscribe"]
            await publish(fast, {"n": 0, "body": body})
            got.append((await slow.hear())["push"]["pub"])  # of the others its kernel may take none
            async with slow.not_reading():
                for n in range(1, SENT):
                    await publish(fast, {"n": n, "body": body})  # all that is sent is there, however late that is
            with suppress(ConnectionError, asyncio.IncompleteReadError):  # when it took us too long to get here
                while isinstance(heard := await slow.hear(), dict):
                    got.append(heard["push"]["pub"])
                assert heard == 3008
                await slow.send(masked(struct.pack("!H", 3008), Opcode.CLOSE))
        await healthy.served()
        await until(slow_ones, before + 1)
        assert len(got) < SENT
        async with Peer.connected(gateway, "slow") as slow:
            place = {"recover": True, "epoch": start["epoch"], "offset": got[-1]["offset"]}
            reply = (await slow.command("subscribe", channel="room:flood", **place))["subscribe"]
            assert reply["recovered"]
            assert [pub["data"]["n"] for pub in got + reply["publications"]] == list(range(SENT))


async def publish(peer: Peer, data: dict[str, object]) -> None:
    """Say it to the room, and hear it there."""
    await peer.say(orjson.dumps({"id": 1_000, "publish": {"channel": "room:flood", "data": data}}))
    answered = heard = False
    while not (answered and heard):
        said = await peer.hear()
        answered |= said == {"id": 1_000, "publish": {}}
        heard |= "push" in said and said["push"]["pub"]["data"] == data


async def until(number: Callable[[], Awaitable[float]], wanted: float) -> None:
    while await number() != wanted:  # noqa: ASYNC110  # the gateway brings it about
        await asyncio.sleep(0.02)
