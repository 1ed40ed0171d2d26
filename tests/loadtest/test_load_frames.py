"""loadtest.frames: the client side of RFC 6455, against the `websockets` library and by property."""

from __future__ import annotations

import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode as TheirOpcode
from websockets.streams import StreamReader

from loadtest.frames import (
    ACCEPT,
    KEY,
    MAX_PAYLOAD,
    BadFrame,
    Decoder,
    Frame,
    Opcode,
    encode,
    upgrade_request,
    upgraded,
)

payloads = st.binary(max_size=200)


def parse_as_server(data: bytes) -> tuple[int, bytes]:
    """A client frame as the library reads it."""
    reader = StreamReader()
    reader.feed_data(data)
    parsing = TheirFrame.parse(reader.read_exact, mask=True, max_size=None)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    frame = done.value.value
    return frame.opcode, bytes(frame.data)


@given(payloads)
@example(bytes(65_535))
@example(bytes(65_536))
def test_what_is_encoded_a_server_reads(payload: bytes) -> None:
    assert parse_as_server(encode(Opcode.TEXT, payload)) == (Opcode.TEXT, payload)


@given(st.lists(payloads, max_size=4), st.integers(1, 500))
@example([bytes(65_535), bytes(65_536), b"x"], 30_000)
def test_frames_come_out_whole_however_they_are_cut(sent: list[bytes], size: int) -> None:
    data = b"".join(TheirFrame(TheirOpcode.TEXT, payload).serialize(mask=False) for payload in sent)
    decoder = Decoder()
    frames = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert frames == [Frame(Opcode.TEXT, payload) for payload in sent]


def test_a_fragment_is_not_final() -> None:
    assert Decoder().feed(b"\x01\x01a") == [Frame(Opcode.TEXT, b"a", final=False)]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x81\x80\0\0\0\0", "masked"),
        (b"\xc1\x00", "reserved"),
        (b"\x83\x00", "opcode"),
        (b"\x81\x7f" + struct.pack("!Q", MAX_PAYLOAD + 1), "more than"),
    ],
)
def test_what_no_server_may_send_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(BadFrame, match=why):
        Decoder().feed(data)


def test_the_handshake_is_checked() -> None:
    assert upgrade_request("h", 80, "/p").startswith(b"GET /p HTTP/1.1\r\nHost: h:80\r\n")
    assert KEY.encode() in upgrade_request("h", 80, "/p")
    assert upgraded(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: " + ACCEPT)
    assert not upgraded(b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: other")
    assert not upgraded(b"HTTP/1.1 403 Forbidden\r\n")
