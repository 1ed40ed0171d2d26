"""Client side of RFC 6455 frames, as much as a load client needs: encode masked, decode what a server sends."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum

MAX_PAYLOAD = 1 << 20
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""What a server must answer to `KEY` (RFC 6455, 1.3)."""


class Opcode(IntEnum):
    """Kinds of frames (RFC 6455, 5.2)."""

    CONTINUATION = 0
    TEXT = 1
    BINARY = 2
    CLOSE = 8
    PING = 9
    PONG = 10


class BadFrame(ValueError):
    """The server sent what no server may send; the text says what."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `final` is false for all but the last of a fragmented message."""

    opcode: Opcode
    payload: bytes
    final: bool = True


def encode(opcode: Opcode, payload: bytes) -> bytes:
    """A final client frame. Its mask is zeros: masking protects proxies (RFC 6455, 10.3), and none is here."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


@dataclass(slots=True)
class Decoder:
    """Turns the bytes of a connection into frames."""

    _rest: bytes = field(default=b"")

    def feed(self, data: bytes) -> list[Frame]:
        """Frames completed by `data`. Raises `BadFrame`."""
        buffer, at, frames = self._rest + data, 0, []
        while (found := _decode(buffer, at)) is not None:
            frame, at = found
            frames.append(frame)
        self._rest = buffer[at:]
        return frames


def _decode(buffer: bytes, at: int) -> tuple[Frame, int] | None:
    if len(buffer) < at + 2:
        return None
    first, second = buffer[at], buffer[at + 1]
    if second & 0x80:
        raise BadFrame("a server frame must not be masked")
    if first & 0x70:
        raise BadFrame("no extension was negotiated that could use a reserved bit")
    length = _length(buffer, at + 1)
    if length is None:
        return None
    size, start = length
    if size > MAX_PAYLOAD:
        raise BadFrame(f"a frame of more than {MAX_PAYLOAD} bytes")
    if len(buffer) < start + size:
        return None
    try:
        opcode = Opcode(first & 0x0F)
    except ValueError:
        raise BadFrame("an unknown opcode") from None
    return Frame(opcode, buffer[start : start + size], bool(first & 0x80)), start + size


def _length(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Payload size and where the payload starts, or None when those bytes have not come."""
    short = buffer[at]
    if short < 126:
        return short, at + 1
    form = "!H" if short == 126 else "!Q"
    if len(buffer) < at + 1 + struct.calcsize(form):
        return None
    return struct.unpack_from(form, buffer, at + 1)[0], at + 1 + struct.calcsize(form)


def upgrade_request(host: str, port: int, path: str) -> bytes:
    """The head of an opening handshake."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    ).encode()


def upgraded(head: bytes) -> bool:
    """Whether a response head accepts the handshake."""
    status, _, fields = head.partition(b"\r\n")
    return status.startswith(b"HTTP/1.1 101") and ACCEPT in fields
