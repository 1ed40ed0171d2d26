"""Frames: every rule of RFC 6455 that concerns a server, with `websockets` as the oracle for what is in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side
from websockets.utils import apply_mask

from gateway.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_TEXT,
    PING,
    PONG,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    FrameRules,
    Item,
    Message,
    Parser,
    PeerClose,
    Ping,
    Pong,
    Violation,
    close_frame,
    control_frame,
    only_text,
    pong_frame,
)
from gateway.wire.framing import websocket_text

RULES = FrameRules(message_bytes=70_000, fragments=16)
MASK = b"\x11\x22\x33\x44"


def raw(opcode: int, payload: bytes = b"", *, fin: bool = True, first: int = 0, length: bytes | None = None) -> bytes:
    """A client frame with whatever is asked for wrong; `length` replaces the encoded length."""
    size = len(payload)
    if length is None:
        form = (b"", 1) if size < 126 else (b"\x7e", 2) if size < 65_536 else (b"\x7f", 8)
        length = form[0] + size.to_bytes(form[1], "big")
    masked = apply_mask(payload, MASK)
    head = bytes((opcode | (0x80 if fin else 0) | first, length[0] | 0x80)) + length[1:]
    return head + MASK + masked


def parse(data: bytes, step: int | None = None, rules: FrameRules = RULES) -> list[Item]:
    """Everything in `data`, given to a parser in steps of so many bytes."""
    parser, items = Parser(rules), []
    step = step or max(1, len(data))
    for at in range(0, len(data), step):
        items += parser.feed(data[at : at + step])
    return items


# What is in order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 7, None])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_a_message_of_any_size_in_any_pieces(size: int, step: int | None) -> None:
    text = b"x" * size
    if size > 1_000 and step is not None:
        step *= 1_000
    assert parse(raw(TEXT, text), step) == [Message(text)]
    assert parse(raw(BINARY, text), step) == [Message(text, binary=True)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535])
def test_the_short_way_takes_one_whole_text_frame(size: int) -> None:
    text = "é".encode() * (size // 2) + b"x" * (size % 2)
    assert only_text(raw(TEXT, text), 65_536) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        raw(TEXT, b"abc")[:-1],
        raw(TEXT, b"abc") + b"\x81",
        raw(TEXT, b"abc") * 2,
        raw(TEXT, b"x" * 200)[:-1],
        raw(TEXT, b"x" * 65_536),
        raw(TEXT, b"abc", fin=False),
        raw(BINARY, b"abc"),
        raw(PING, b"abc"),
        raw(TEXT, b"abc", first=0x40),
        raw(TEXT, b"\xff\xfe"),
        raw(TEXT, b"abc", length=b"\x7e\0\x03"),
        raw(TEXT, b"x" * 124, length=b"\x7e\0\x7c"),
        websocket_text(b"abcdefg"),
        websocket_text(b"x" * 300),
        raw(TEXT, b"x" * 1_001),
    ],
)
def test_the_short_way_leaves_all_else_to_the_parser(data: bytes) -> None:
    assert only_text(data, 1_000) is None


@pytest.mark.parametrize("step", [1, 3, None])
def test_control_frames_come_between_fragments(step: int | None) -> None:
    data = raw(TEXT, b"one ", fin=False) + raw(PING, b"?") + raw(CONTINUATION, b"two", fin=False) + raw(PONG)
    data += raw(CONTINUATION) + raw(TEXT, b"three")
    assert parse(data, step) == [Ping(b"?"), Pong(), Message(b"one two"), Message(b"three")]


def test_a_parser_is_idle_only_between_messages() -> None:
    parser = Parser(RULES)
    whole = raw(TEXT, b"abc", fin=False) + raw(CONTINUATION, b"de")
    states = []
    for at in range(len(whole)):
        assert parser.idle == (at == 0)
        states += parser.feed(whole[at : at + 1])
    assert parser.idle
    assert states == [Message(b"abcde")]
    assert list(parser.feed(b"")) == []
    list(parser.feed(raw(CLOSE)))
    assert not parser.idle


@pytest.mark.parametrize(
    ("payload", "item"),
    [
        (b"", PeerClose(None)),
        (b"\x03\xe8", PeerClose(1000)),
        (b"\x03\xe8bye \xc3\xa9", PeerClose(1000, "bye é")),
        *[(code.to_bytes(2, "big"), PeerClose(code)) for code in (1001, 1003, 1007, 1011, 1014, 3000, 4999)],
    ],
)
def test_closes_that_may_be_sent(payload: bytes, item: Item) -> None:
    assert parse(raw(CLOSE, payload)) == [item]


def test_nothing_counts_after_a_close() -> None:
    assert parse(raw(CLOSE) + raw(TEXT, b"late") + b"\xff" * 50, 5) == [PeerClose(None)]


# What is not -------------------------------------------------------------------------------------------------------

TOO_LONG_CONTROL = raw(PING, b"x" * 126)


@pytest.mark.parametrize("step", [1, None])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (websocket_text(b"not masked"), PROTOCOL_ERROR),
        (raw(TEXT, first=0x40), PROTOCOL_ERROR),
        (raw(TEXT, first=0x20), PROTOCOL_ERROR),
        (raw(TEXT, first=0x10), PROTOCOL_ERROR),
        (raw(PING, first=0x40), PROTOCOL_ERROR),
        *[(raw(opcode), PROTOCOL_ERROR) for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)],
        (raw(PING, fin=False), PROTOCOL_ERROR),
        (raw(CLOSE, fin=False), PROTOCOL_ERROR),
        (TOO_LONG_CONTROL, PROTOCOL_ERROR),
        (raw(CONTINUATION, b"x"), PROTOCOL_ERROR),
        (raw(TEXT, b"a", fin=False) + raw(TEXT, b"b"), PROTOCOL_ERROR),
        (raw(TEXT, b"a", fin=False) + raw(BINARY, b"b"), PROTOCOL_ERROR),
        (raw(TEXT, b"abc", length=b"\x7e\0\x03"), PROTOCOL_ERROR),
        (raw(TEXT, b"abc", length=b"\x7f" + bytes(7) + b"\x03"), PROTOCOL_ERROR),
        (raw(TEXT, b"x" * 65_535, length=b"\x7f" + (65_535).to_bytes(8, "big"))[:20], PROTOCOL_ERROR),
        (raw(TEXT, length=b"\x7f\x80" + bytes(7)), PROTOCOL_ERROR),
        (raw(TEXT, length=b"\x7f" + (1 << 62).to_bytes(8, "big")), TOO_BIG),
        (raw(TEXT, length=b"\x7f" + (70_001).to_bytes(8, "big")), TOO_BIG),
        (raw(TEXT, b"x" * 60_000, fin=False) + raw(CONTINUATION, length=b"\x7e\x27\x11"), TOO_BIG),
        (raw(TEXT, fin=False) + raw(CONTINUATION, fin=False) * 1_000_000, TOO_BIG),
        (raw(CLOSE, b"\x03"), PROTOCOL_ERROR),
        *[
            (raw(CLOSE, code.to_bytes(2, "big")), PROTOCOL_ERROR)
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65_535)
        ],
        (raw(CLOSE, b"\x03\xe8\xff"), INVALID_TEXT),
        (raw(TEXT, b"\xff"), INVALID_TEXT),
        (raw(TEXT, "é".encode()[:1]), INVALID_TEXT),
        (raw(TEXT, b"\xed\xa0\x80"), INVALID_TEXT),
        (raw(TEXT, "€".encode()[:2], fin=False) + raw(CONTINUATION, b"x"), INVALID_TEXT),
        (raw(TEXT, "€".encode()[:2], fin=False) + raw(CONTINUATION), INVALID_TEXT),
    ],
)
def test_a_violation_ends_it(data: bytes, code: int, step: int | None) -> None:
    if len(data) > 1_000:
        step = None
    items = parse(data + raw(TEXT, b"late"), step)
    assert [type(item) for item in items] == [Violation]
    assert isinstance(items[0], Violation)
    assert items[0].code == code


@pytest.mark.parametrize(
    ("start", "bad"),
    [(b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4", b"\x90"), (b"ok", b"\xff"), (b"\xf0\x90", b"x")],
)
def test_bad_text_is_told_at_its_first_bad_byte(start: bytes, bad: bytes) -> None:
    frame = raw(TEXT, start + bad + b"x" * 50)
    parser = Parser(RULES)
    before = 6 + len(start)
    assert list(parser.feed(frame[:before])) == []
    assert list(parser.feed(frame[before : before + 1])) == [Violation(INVALID_TEXT, "text is not UTF-8")]


def test_fragments_are_counted_by_message() -> None:
    one = raw(TEXT, b"a", fin=False) + raw(CONTINUATION, b"b", fin=False) * 14 + raw(CONTINUATION, b"c")
    assert parse(one * 3) == [Message(b"a" + b"b" * 14 + b"c")] * 3


# What we send ------------------------------------------------------------------------------------------------------


def test_our_control_frames() -> None:
    assert pong_frame(b"hi") == Frame(Opcode.PONG, b"hi").serialize(mask=False)
    assert control_frame(PING, b"") == Frame(Opcode.PING, b"").serialize(mask=False)
    assert close_frame(3001, "shutdown") == Frame(Opcode.CLOSE, b"\x0b\xb9shutdown").serialize(mask=False)
    assert close_frame(None) == b"\x88\x00"


def test_a_long_reason_is_cut_between_characters() -> None:
    frame = close_frame(1002, "€" * 60)
    assert len(frame) <= 127
    assert frame[4:].decode() == "€" * 41


# Against the oracle ------------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.builds(
            lambda text, cuts, opcode: _fragments(text, cuts, opcode),
            st.text(max_size=300).map(str.encode),
            st.lists(st.integers(0, 300), max_size=5),
            st.sampled_from([TEXT, BINARY]),
        ),
        st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125)).map(lambda both: [raw(*both)]),
    ),
    max_size=6,
).map(lambda lists: b"".join(frame for frames in lists for frame in frames))
"""Frames in order; control frames stand between messages."""


def _fragments(payload: bytes, cuts: list[int], opcode: int) -> list[bytes]:
    ends = sorted({min(cut, len(payload)) for cut in cuts} | {len(payload)})
    starts = [0, *ends[:-1]]
    return [
        raw(opcode if i == 0 else CONTINUATION, payload[start:end], fin=end == ends[-1])
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def oracle(data: bytes) -> tuple[list[Item], int | None]:
    """What `websockets` makes of it: whole messages and control frames, and the code it would close with."""
    protocol = Protocol(Side.SERVER, state=OPEN, max_size=RULES.message_bytes)
    protocol.receive_data(data)
    items: list[Item] = []
    message, binary = b"", False
    for frame in protocol.events_received():
        assert isinstance(frame, Frame)
        if frame.opcode is Opcode.PING:
            items.append(Ping(bytes(frame.data)))
        elif frame.opcode is Opcode.PONG:
            items.append(Pong())
        elif frame.opcode is not Opcode.CLOSE:
            binary = frame.opcode is Opcode.BINARY if frame.opcode is not Opcode.CONT else binary
            message += bytes(frame.data)
            if frame.fin:
                items.append(Message(message, binary))
                message = b""
    failed = protocol.parser_exc is not None and protocol.close_sent is not None
    return items, protocol.close_sent.code if failed and protocol.close_sent else None


@given(PIECES, st.lists(st.integers(1, 40), min_size=1, max_size=20))
def test_frames_in_order_mean_what_the_oracle_says(data: bytes, steps: list[int]) -> None:
    parser, items, at = Parser(RULES), [], 0
    while at < len(data):
        step = steps[at % len(steps)]
        items += parser.feed(data[at : at + step])
        at += step
    assert (items, None) == oracle(data)
    assert parser.idle


@given(PIECES, st.data())
def test_a_broken_byte_is_treated_as_the_oracle_does(data: bytes, draw: st.DataObject) -> None:
    if not data:
        return
    at = draw.draw(st.integers(0, len(data) - 1))
    data = data[:at] + bytes((draw.draw(st.integers(0, 255)),)) + data[at + 1 :]
    items = parse(data, draw.draw(st.integers(1, 50)))
    expected, code = oracle(data)
    ends = [item for item in items if isinstance(item, PeerClose | Violation)]
    if ends and isinstance(ends[0], Violation) and ends[0].code == INVALID_TEXT:
        return  # the oracle leaves text to the layer above
    if ends and isinstance(ends[0], Violation) and ends[0].reason == "bad length":
        return  # the oracle takes lengths that are longer than need be
    assert [item for item in items if item not in ends] == expected
    if ends and isinstance(ends[0], Violation):
        # Where two rules are broken either may be named: the oracle looks at a frame's size before its bits, which it
        # judges only when the frame is all there, and at a close's reason before its code.
        assert oracle(data + bytes(70_000))[1] in {ends[0].code, TOO_BIG, INVALID_TEXT}
    else:
        assert code is None


@given(st.text(max_size=400))
def test_both_ways_agree(text: str) -> None:
    data = Frame(Opcode.TEXT, text.encode()).serialize(mask=True)
    assert [Message(only_text(data, 70_000) or b"")] == parse(data, 5)
