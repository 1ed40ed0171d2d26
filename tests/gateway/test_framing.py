"""Bytes of each transport, read back by readers that are not ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway.wire.framing import LAST_CHUNK, Wire, chunk, encode, websocket_text

SIZES = st.sampled_from((0, 1, 125, 126, 127, 65_535, 65_536, 70_000))


def read_frame(data: bytes) -> Frame:
    reader = StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    parsing = Frame.parse(reader.read_exact, mask=False)
    try:
        while True:
            next(parsing)
    except StopIteration as done:
        frame = done.value
    assert isinstance(frame, Frame)
    assert next(reader.at_eof(), None) is None
    return frame


def read_chunks(data: bytes) -> list[bytes]:
    """A chunked body by RFC 9112 §7.1."""
    chunks = []
    while data:
        size, _, rest = data.partition(b"\r\n")
        length = int(size, 16)
        assert rest[length : length + 2] == b"\r\n"
        chunks.append(rest[:length])
        data = rest[length + 2 :]
    return chunks


@given(SIZES, st.binary(min_size=1, max_size=3))
def test_a_frame_is_whole_text_unmasked_and_of_the_shortest_length(size: int, fill: bytes) -> None:
    payload = (fill * size)[:size]
    data = websocket_text(payload)
    frame = read_frame(data)
    assert (frame.opcode, frame.fin, frame.data) == (Opcode.TEXT, True, payload)
    assert data == Frame(Opcode.TEXT, payload).serialize(mask=False)


@given(st.lists(st.binary(min_size=1), max_size=5))
def test_chunks_read_back_as_they_were(payloads: list[bytes]) -> None:
    assert read_chunks(b"".join(map(chunk, payloads)) + LAST_CHUNK) == [*payloads, b""]


@pytest.mark.parametrize(
    ("wire", "expected"),
    [
        (Wire.WEBSOCKET, b"\x81\x02{}"),
        (Wire.SSE, b"a\r\ndata: {}\n\n\r\n"),
        (Wire.STREAM, b"3\r\n{}\n\r\n"),
    ],
)
def test_each_wire_has_its_form(wire: Wire, expected: bytes) -> None:
    assert encode(wire, b"{}") == expected
