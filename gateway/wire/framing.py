"""One JSON object to the bytes of a transport. The bytes are the same for every recipient, so they are made once."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Wire(IntEnum):
    """How a connection wants its messages; an index into lists of ready bytes."""

    WEBSOCKET = 0
    SSE = 1
    """Bidirectional emulation over Server-Sent Events: `data: {json}` in a chunked response."""
    STREAM = 2
    """Bidirectional emulation over a streamed response of JSON lines."""
    EVENTS = 3
    """Plain EventSource: each connection has its own `id:` lines, so nothing is shared."""


def websocket_text(payload: bytes) -> bytes:
    """An unmasked, unfragmented text frame (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81" + size.to_bytes(1, "big") + payload
    if size < 65_536:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def chunk(payload: bytes) -> bytes:
    """A chunk of a chunked HTTP body (RFC 9112 §7.1)."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


def encode(wire: Wire, payload: bytes) -> bytes:
    """A JSON object as it goes out on a wire; JSON has no raw line breaks, so nothing needs escaping."""
    if wire is Wire.WEBSOCKET:
        return websocket_text(payload)
    if wire is Wire.SSE:
        return chunk(b"data: " + payload + b"\n\n")
    return chunk(payload + b"\n")


LAST_CHUNK: Final = b"0\r\n\r\n"
"""Ends a chunked body, so that the client sees an end and not a break."""
