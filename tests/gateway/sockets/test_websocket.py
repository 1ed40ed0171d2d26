"""WebSockets over real sockets: what clients do wrong costs them their connection, with its code, and nobody else."""

from __future__ import annotations

import asyncio
import os
import socket
import struct

import pytest
from websockets.asyncio.client import connect
from websockets.frames import Opcode

from gateway.connection import Connection
from gateway.frames import FrameRules
from gateway.limits import Rate
from gateway.sweep import Sweep
from gateway.transport import HIGH_WATER, SocketConnection
from gateway.websocket import LATE
from gateway.wire.codes import Disconnect
from gateway.wire.framing import websocket_text
from tests.gateway.echo import UPGRADE, Echo, Raw, Served, masked, serving
from tests.gateway.turns import SlowClock

UNLIMITED = Rate(per_second=1e9)


def resident() -> int:
    """Bytes of memory of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def carried(service: Echo) -> SocketConnection:
    """The only connection there is."""
    [connection] = service.connections
    assert isinstance(connection, SocketConnection)
    return connection


# What is in order --------------------------------------------------------------------------------------------------


async def test_a_common_client_gets_its_echo_and_its_close() -> None:
    service = Echo()
    async with serving(service) as served:
        async with connect(f"ws://127.0.0.1:{served.port}/connection/websocket", ping_interval=None) as client:
            for text in ("", "{}", "ü" * 300, "x" * 65_536):
                await client.send(text)
                assert await client.recv() == text
            await (await client.ping())
        assert client.close_code == 1000
        await service.until(lambda: service.codes)
        assert service.codes == [0]


async def test_frames_that_come_with_the_handshake_are_not_lost() -> None:
    async with serving(Echo()) as served:
        client = await served.client()
        await client.ask(UPGRADE + masked(b"one") + masked(b"two")[:3])
        assert await client.frame() == (Opcode.TEXT, b"one")
        client.writer.transport.abort()


async def test_messages_in_any_pieces() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        data = masked(b"a", fin=False) + masked(b"?", Opcode.PING) + masked(b"b", Opcode.CONT) + masked(b"c")
        for at in range(len(data)):
            await client.send(data[at : at + 1])
            await asyncio.sleep(0)
        assert await client.frame() == (Opcode.PONG, b"?")
        assert await client.frame() == (Opcode.TEXT, b"ab")
        assert await client.frame() == (Opcode.TEXT, b"c")
        assert carried(service)._parser is None  # type: ignore[attr-defined]


async def test_the_peers_close_is_answered_with_its_code_and_the_end() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        await client.send(masked(struct.pack("!H", 3999), Opcode.CLOSE) + masked(b"late"))
        assert await client.rest() == b"\x88\x02\x0f\x9f"
        assert service.messages == []


async def test_our_close_waits_for_the_answer_and_hears_nothing_else() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        connection = carried(service)
        connection.close(Disconnect.SHUTDOWN)
        connection.close(Disconnect.SLOW)
        connection.write(websocket_text(b"late"))
        assert await client.frame() == (Opcode.CLOSE, b"\x0b\xb9shutdown")
        await client.send(masked(b"late") + masked(b"late", Opcode.BINARY) + masked(b"", Opcode.PING))
        await client.send(masked(b"\x0b\xb9", Opcode.CLOSE))
        assert await client.rest() == b""
        await service.until(lambda: service.codes)
        assert (service.codes, service.messages) == ([3001], [])


async def test_a_peer_that_does_not_answer_our_close_is_dropped() -> None:
    service = Echo()
    async with serving(service) as served:
        served.protocol.door.carrier.closing = Sweep(0.1, lambda connection: connection.abort())
        await served.websocket()
        carried(service).close(Disconnect.SHUTDOWN)
        await service.until(lambda: service.codes)
        assert service.codes == [3001]


async def test_wires_of_ready_bytes_are_offered_nothing() -> None:
    service = Echo()
    async with serving(service) as served:
        await served.websocket()
        for call in (lambda c: c.offer("t", 1, b""), lambda c: c.joined("t", None, False), lambda c: c.heartbeat()):
            with pytest.raises(TypeError, match="WEBSOCKET"):
                call(carried(service))


# What is not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (websocket_text(b"unmasked"), 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (masked(b"x", Opcode.CONT), 1002),
        (masked(b"x", fin=False) + masked(b"y"), 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\x00\x7e\0\0\0\0", 1002),
        (b"\x81\xff\x80" + bytes(11), 1002),
        (b"\x81\xff\x40" + bytes(11), 1009),
        (masked(b"x" * 65_537), 1009),
        (masked(b"", fin=False) + masked(b"", Opcode.CONT, fin=False) * 100_000, 1009),
        (masked(b"\xff\xfe"), 1007),
        (masked(b"\xce", fin=False) + masked(b"x", Opcode.CONT), 1007),
        (masked(b"\x03", Opcode.CLOSE), 1002),
        (masked(struct.pack("!H", 1005), Opcode.CLOSE), 1002),
        (masked(struct.pack("!H", 5000), Opcode.CLOSE), 1002),
        (masked(b"\x03\xe8\xff", Opcode.CLOSE), 1007),
        (masked(b"binary", Opcode.BINARY), 3506),
        (masked(b"", Opcode.PING) * 21, 3013),
        (masked(b"", Opcode.PONG) * 21, 3013),
    ],
    ids=lambda value: value if isinstance(value, int) else "frames",  # what is masked is another text each time
)
async def test_bad_frames_end_their_connection_alone(data: bytes, code: int) -> None:
    service = Echo(clock=SlowClock())  # type: ignore[arg-type]  # what is too fast is so however long its reading takes
    async with serving(service) as served:
        good, bad = await served.websocket(), await served.websocket()
        sending = asyncio.get_running_loop().create_task(bad.send(data + masked(b"late")))
        assert await bad.close_code() == code
        await sending
        await bad.send(masked(struct.pack("!H", code), Opcode.CLOSE))
        bad.go()
        await service.until(lambda: service.codes)
        assert service.codes == [code]
        await good.send(masked(b"still here"))
        assert await good.frame() == (Opcode.TEXT, b"still here")
        assert service.messages == [b"still here"]


async def test_after_a_violation_input_is_thrown_away_until_the_peer_is_dropped() -> None:
    service = Echo()
    async with serving(service) as served:
        served.protocol.door.carrier.closing = Sweep(0.3, lambda connection: connection.abort())
        client = await served.websocket()
        await client.send(websocket_text(b"unmasked"))
        assert await client.close_code() == 1002
        before = resident()
        with pytest.raises(ConnectionError):
            await client.flood(bytes(65_536), seconds=30)
        assert resident() - before < 20_000_000
        assert service.codes == [1002]


async def test_who_goes_on_flooding_after_our_close_is_dropped() -> None:
    service = Echo(clock=SlowClock())  # type: ignore[arg-type]
    async with serving(service) as served:
        served.protocol.door.carrier.closing = Sweep(60, lambda connection: connection.abort())
        client = await served.websocket()
        await client.send(masked(b"", Opcode.PONG) * (21 + LATE))
        assert await client.close_code() == 3013
        assert service.codes == [], "it may have said all that before it heard"
        with pytest.raises(ConnectionError):
            await client.flood(masked(b"", Opcode.PONG), seconds=30)
        await service.until(lambda: service.codes)
        assert service.codes == [3013]


async def test_a_violation_after_our_close_ends_it() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        carried(service).close(Disconnect.SHUTDOWN)
        assert await client.close_code() == 3001
        await client.send(websocket_text(b"unmasked"))
        assert await client.rest() == b""
        await service.until(lambda: service.codes)
        assert service.codes == [3001]


async def test_a_service_may_close_while_frames_are_being_read() -> None:
    class Strict(Echo):
        def received(self, connection: Connection, message: bytes) -> None:
            self.messages.append(message)
            connection.close(Disconnect.BAD_REQUEST)

    service = Strict()
    async with serving(service) as served:
        client = await served.client()
        await client.ask(
            UPGRADE + masked(b"one") + masked(b"two") + masked(b"", Opcode.PING) + masked(b"", Opcode.CLOSE)
        )
        assert await client.rest() == b"\x88\x0d\x0d\xadbad request"
        assert service.messages == [b"one"]


async def test_a_reset_in_the_middle_of_a_frame() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        await client.send(masked(b"x" * 1_000)[:500])
        sock = client.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.writer.transport.abort()
        await service.until(lambda: service.codes)
        assert (service.codes, service.messages) == ([0], [])


async def test_half_a_close_is_a_whole_one() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await served.websocket()
        client.writer.write_eof()
        assert await client.rest() == b""
        await service.until(lambda: service.codes)
        assert service.codes == [0]


# Peers that do not read --------------------------------------------------------------------------------------------


async def stalled_client(served: Served) -> Raw:
    """A client whose kernel takes little, and which does not read after the handshake."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", served.port))
    client = await served.client(sock)
    assert (await client.ask(UPGRADE)).startswith(b"HTTP/1.1 101 ")
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    return client


async def fill(service: Echo) -> int:
    """Write to the only connection until its transport is full; how many messages that took."""
    connection, count = carried(service), 0
    while not (service.stalls and service.stalls[-1]):
        connection.write(websocket_text(b"%06d" % count + b"x" * 8_000))
        count += 1
    return count


def held(connection: SocketConnection) -> int:
    """Bytes that wait for the peer."""
    return connection._transport.get_write_buffer_size() + (connection._outbox.size if connection._outbox else 0)


async def test_what_waits_is_bounded_in_bytes_and_the_client_told_to_come_back() -> None:
    service = Echo()
    async with serving(service) as served:
        served.protocol.door.carrier.closing = Sweep(60, lambda connection: connection.abort())
        client = await stalled_client(served)
        connection, count = carried(service), await fill(service)
        while connection._code is None:
            connection.write(websocket_text(b"%06d" % count + b"x" * 8_000))
            count += 1
        assert connection._transport.get_write_buffer_size() < HIGH_WATER + 10_000
        assert not connection.overdue(1e12)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        seen = 0
        while (frame := await client.frame())[0] == Opcode.TEXT:
            assert int(frame[1][:6]) == seen
            seen += 1
        assert frame == (Opcode.CLOSE, b"\x0b\xc0slow")
        assert count - seen == service.settings.outbox_bytes // 8_010 + 1


async def test_what_waits_is_bounded_in_time() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await stalled_client(served)
        await fill(service)
        connection, now = carried(service), service.clock.monotonic()
        connection.write(websocket_text(b"waits"))
        assert not connection.overdue(now + service.settings.outbox_seconds - 1)
        assert connection.overdue(now + service.settings.outbox_seconds + 1)
        client.writer.transport.abort()


async def test_who_reads_again_gets_everything_in_order() -> None:
    service = Echo()
    async with serving(service) as served:
        client = await stalled_client(served)
        connection, count = carried(service), await fill(service)
        for number in range(count, count + 50):
            connection.write(websocket_text(b"%06d" % number + b"x" * 8_000))
        await client.send(masked(b"not read while it waits"))
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(count + 50):
            _, payload = await client.frame()
            assert int(payload[:6]) == number
        assert await client.frame() == (Opcode.TEXT, b"not read while it waits")
        assert service.stalls == [True, False]
        assert connection._outbox is None


async def test_a_stalled_peer_cannot_hold_up_its_own_close() -> None:
    service = Echo()
    async with serving(service) as served:
        served.protocol.door.carrier.closing = Sweep(0.1, lambda connection: connection.abort())
        client = await stalled_client(served)
        await fill(service)
        carried(service).close(Disconnect.SLOW)
        await service.until(lambda: service.codes)
        assert service.codes == [3008]
        client.writer.transport.abort()


async def test_pings_of_a_peer_that_does_not_read_stop_being_read() -> None:
    service = Echo()
    async with serving(service, control_rate=UNLIMITED, rules=FrameRules(65_536)) as served:
        client = await stalled_client(served)
        flood = client.flood(masked(b"x" * 125, Opcode.PING) * 2_000, seconds=30)
        flooding = asyncio.get_running_loop().create_task(flood)
        await service.until(lambda: service.stalls)
        connection = carried(service)
        waiting, now = -1, held(connection)
        while now != waiting:  # for the peer's kernel may still take some, and then more is read
            await asyncio.sleep(0.2)
            waiting, now = now, held(connection)
        assert not flooding.done()
        assert not connection._transport.is_reading()
        assert service.stalls[-1]
        assert 0 < waiting < HIGH_WATER + 262_144  # what was read before
        flooding.cancel()
        client.writer.transport.abort()
