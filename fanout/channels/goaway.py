"""Takes GOAWAY frames (RFC 9113 §6.8) out of what a server sends, before `h2` sees them. Pure.

`h2` closes its state at a GOAWAY and then refuses every later frame, so the answers that are still due on streams the
server said it would finish could not be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

HEAD: Final = 9
"""Bytes before a frame's payload: length (3), type, flags, stream (4)."""
MOST: Final = 1 << 14
"""Bytes a payload may have, as we never offered more (SETTINGS_MAX_FRAME_SIZE)."""
_GOAWAY: Final = 0x7


@dataclass(frozen=True, slots=True)
class GoAway:
    """The server takes no more streams, and answers none above `last`."""

    last: int
    code: int


class Splitter:
    """Bytes in, in any pieces; bytes for `h2` and farewells out."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, list[GoAway]]:
        """Whole frames and the beginnings of others go on; a frame that may be a GOAWAY waits until it is whole."""
        buffer, passed, found, place = self._rest + data, bytearray(), [], 0
        while len(buffer) - place >= HEAD:
            length = int.from_bytes(buffer[place : place + 3], "big")
            end = place + HEAD + length
            # A frame too long is for `h2` to refuse, not for us to wait for.
            if end > len(buffer) and length <= MOST:
                break
            if buffer[place + 3] == _GOAWAY and length >= 8:
                found.append(_read(buffer[place + HEAD : end]))
            else:
                passed += buffer[place:end]
            place = min(end, len(buffer))
        self._rest = buffer[place:]
        return bytes(passed), found


def _read(payload: bytes) -> GoAway:
    return GoAway(int.from_bytes(payload[:4], "big") & 0x7FFFFFFF, int.from_bytes(payload[4:8], "big"))
