"""Frames of RFC 6455 as a server sees them: bytes in, messages and control frames out, the first fault ends it.

Nearly all that clients send is one small, whole text frame per read; `only_text` takes those without any state. What
is split or joined otherwise goes through a `Parser`, which lives only until it stands between two messages again.
"""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # no compiled wheel on this platform
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_KNOWN: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))

PROTOCOL_ERROR: Final = 1002
INVALID_TEXT: Final = 1007
TOO_BIG: Final = 1009

MAX_CONTROL: Final = 125
"""Most bytes in a control frame (§5.5)."""


@dataclass(frozen=True, slots=True)
class FrameRules:
    """What a peer may ask us to hold: bytes of one message, and frames it may be cut into."""

    message_bytes: int
    fragments: int = 256


@dataclass(frozen=True, slots=True)
class Message:
    """A whole message; text is valid UTF-8."""

    payload: bytes
    binary: bool = False


@dataclass(frozen=True, slots=True)
class Ping:
    """To be answered by a pong with the same payload (§5.5.2)."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """An answer to a ping, or a heartbeat nobody asked for (§5.5.3)."""


@dataclass(frozen=True, slots=True)
class PeerClose:
    """The peer ends the connection; nothing it sends after this counts. `code` is None when it gave none."""

    code: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke the protocol: close with this code (§7.1.7). Nothing it sends after this counts."""

    code: int
    reason: str


Item = Message | Ping | Pong | PeerClose | Violation


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a frame (§5.2), found in order."""

    opcode: int
    final: bool
    length: int
    mask: bytes
    size: int
    """Bytes of the header itself."""


# What we send ------------------------------------------------------------------------------------------------------


def control_frame(opcode: int, payload: bytes) -> bytes:
    """An unmasked control frame; the payload has at most 125 bytes."""
    return bytes((0x80 | opcode, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    return control_frame(PONG, payload)


def close_frame(code: int | None, reason: str = "") -> bytes:
    """A close frame; without a code it is empty. The reason is cut to what fits."""
    if code is None:
        return control_frame(CLOSE, b"")
    text = reason.encode()[: MAX_CONTROL - 2].decode("utf-8", "ignore").encode()
    return control_frame(CLOSE, code.to_bytes(2, "big") + text)


# What we receive ---------------------------------------------------------------------------------------------------


def only_text(data: bytes, limit: int) -> bytes | None:
    """The payload, if `data` is exactly one whole text frame in order, of at most `limit` bytes; else None, which
    says nothing about the data but that a `Parser` has to look."""
    length, mask = len(data) - 6, 2
    if length < 0 or data[0] != 0x80 | TEXT:
        return None
    if length < 126:
        announced = data[1] & 0x7F if data[1] & 0x80 else -1
    else:
        length, mask = length - 2, 4
        announced = int.from_bytes(data[2:4], "big") if data[1] == 0xFE else -1
    if announced != length or length > limit or (mask == 4 and length < 126):
        return None
    payload = apply_mask(data[mask + 4 :], data[mask : mask + 4])
    return payload if payload.isascii() or _is_utf8(payload) else None


class Parser:
    """Takes bytes as they come and gives what they mean. State is one message under way, never more.

    After a `PeerClose` or a `Violation` it ignores what follows.
    """

    __slots__ = (
        "_control",
        "_final",
        "_fragments",
        "_header",
        "_kind",
        "_left",
        "_mask",
        "_message",
        "_opcode",
        "_over",
        "_rules",
        "_unfinished",
    )

    def __init__(self, rules: FrameRules) -> None:
        self._rules = rules
        self._over = False
        self._header = b""
        """The beginning of a header that is not all here yet."""
        self._opcode = self._left = 0
        """The frame under way, and how much of its payload is missing."""
        self._final = True
        self._mask = b""
        """Set while a frame is under way; turned so that its first byte is for the next byte of payload."""
        self._control = bytearray()
        self._kind = CONTINUATION
        """TEXT or BINARY while a message is under way."""
        self._message = bytearray()
        self._fragments = 0
        self._unfinished = b""
        """Bytes of a character that was cut by the end of a chunk."""

    @property
    def idle(self) -> bool:
        """Whether it stands between messages, so that a new parser would do as well."""
        return not (self._mask or self._header or self._kind or self._over)

    def feed(self, data: bytes) -> Iterator[Item]:
        """What `data` completes, in order. Take it to its end, or drop the parser."""
        if self._header:
            data = self._header + data
            self._header = b""
        at = 0
        while not self._over:
            if not self._mask:
                start = self._open(data, at)
                if start is None:
                    self._header = data[at:]
                    return
                if isinstance(start, Violation):
                    yield self._end(start)
                    return
                at = start
            chunk = data[at : at + self._left]
            at += len(chunk)
            item = self._take(chunk)
            if item is not None:
                yield item
            if self._left:
                return

    def _open(self, data: bytes, at: int) -> int | Violation | None:
        """Begin the frame whose header is at `at`: where its payload starts, or None if the header is not all here."""
        header = read_header(data, at)
        if not isinstance(header, Header):
            return header
        return self._begin(header) or at + header.size

    def _begin(self, header: Header) -> Violation | None:
        """A frame starts: is it one that may come now (§5.4), and not too big?"""
        opcode, length = header.opcode, header.length
        if opcode < CLOSE:
            if (opcode == CONTINUATION) != (self._kind != CONTINUATION):
                return Violation(PROTOCOL_ERROR, "fragments out of order")
            if len(self._message) + length > self._rules.message_bytes:
                return Violation(TOO_BIG, "message too big")
            self._fragments += 1
            if self._fragments > self._rules.fragments:
                return Violation(TOO_BIG, "too many fragments")
            self._kind = opcode or self._kind
        self._opcode, self._final, self._left, self._mask = opcode, header.final, length, header.mask
        return None

    def _take(self, chunk: bytes) -> Item | None:
        """Payload of the frame under way; all of it, perhaps."""
        self._left -= len(chunk)
        chunk = apply_mask(chunk, self._mask)
        turn = len(chunk) % 4
        self._mask = self._mask[turn:] + self._mask[:turn] if self._left else b""
        if self._opcode >= CLOSE:
            self._control += chunk
            return None if self._left else self._control_item()
        self._message += chunk
        done = self._final and not self._left
        if self._kind == TEXT and not self._text_goes_on(chunk, done):
            return self._end(Violation(INVALID_TEXT, "text is not UTF-8"))
        return self._message_item() if done else None

    def _control_item(self) -> Item:
        payload = bytes(self._control)
        self._control.clear()
        if self._opcode == PING:
            return Ping(payload)
        return Pong() if self._opcode == PONG else self._end(read_close(payload))

    def _message_item(self) -> Message:
        message = Message(bytes(self._message), self._kind == BINARY)
        self._message.clear()
        self._kind = CONTINUATION
        self._fragments = 0
        return message

    def _text_goes_on(self, chunk: bytes, done: bool) -> bool:
        """Whether the text is UTF-8 so far (§8.1), told as soon as it can be, so that a bad message is not waited
        for to its end."""
        if not self._unfinished and chunk.isascii():
            return True
        text = self._unfinished + chunk
        try:
            _, used = utf_8_decode(text, "strict", done)
        except UnicodeDecodeError:
            return False
        self._unfinished = text[used:]
        return True

    def _end(self, last: PeerClose | Violation) -> PeerClose | Violation:
        self._over = True
        self._message.clear()
        return last


def read_header(data: bytes, at: int) -> Header | Violation | None:
    """The frame header that begins at `at` (§5.2), None if it is not all there; a fault is told by the first bytes
    that show it, before anything the header announces is waited for."""
    if len(data) < at + 2:
        return None
    first, second = data[at], data[at + 1]
    opcode, length = first & 0x0F, second & 0x7F
    if (fault := _fault_of(first, second)) is not None:
        return Violation(PROTOCOL_ERROR, fault)
    size = 2
    if length > MAX_CONTROL:
        size = 4 if length == 126 else 10
        if len(data) < at + size:
            return None
        length = int.from_bytes(data[at + 2 : at + size], "big")
        if length < (126 if size == 4 else 65_536) or length >> 63:
            return Violation(PROTOCOL_ERROR, "bad length")
    mask = data[at + size : at + size + 4]
    if len(mask) < 4:
        return None
    return Header(opcode, first >= 0x80, length, mask, size + 4)


def _fault_of(first: int, second: int) -> str | None:
    """What is wrong with the first two bytes of a header."""
    opcode = first & 0x0F
    if first & 0x70:
        return "reserved bit set"
    if opcode not in _KNOWN:
        return "reserved opcode"
    if second < 0x80:
        return "frame not masked"
    if opcode >= CLOSE and (first < 0x80 or second & 0x7F > MAX_CONTROL):
        return "bad control frame"
    return None


def read_close(payload: bytes) -> PeerClose | Violation:
    """The payload of a close frame (§5.5.1, §7.4)."""
    if not payload:
        return PeerClose(None)
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not _may_be_sent(code):
        return Violation(PROTOCOL_ERROR, "bad close code")
    try:
        return PeerClose(code, payload[2:].decode())
    except UnicodeDecodeError:
        return Violation(INVALID_TEXT, "close reason is not UTF-8")


def _may_be_sent(code: int) -> bool:
    """Registered codes, and those of libraries and applications (§7.4.2); 1004–1006 and 1015 never travel."""
    return 3000 <= code < 5000 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True
