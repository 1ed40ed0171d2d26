"""What waits for a connection whose peer does not read fast enough, and when that is too much or too long. Pure.

It exists only while its transport cannot take more. It holds references to frames that are shared by all recipients,
so a thousand stalled connections cost what their own queues of pointers cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence


class Outbox:
    """Chunks in order, each whole: dropping the rest never leaves half a frame on the wire.

    Times are monotonic seconds, sizes bytes.
    """

    __slots__ = ("_chunks", "_since", "blocked", "size")

    def __init__(self, now: float) -> None:
        """The transport said at `now` that it can take no more."""
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._since = now
        self.size = 0
        """Bytes that wait."""
        self.blocked = True
        """Whether the transport still takes nothing."""

    @property
    def since(self) -> float:
        """When the oldest of what waits came; while nothing does, when the transport last stopped taking."""
        return self._chunks[0][0] if self._chunks else self._since

    def put(self, chunk: bytes, now: float) -> None:
        self._chunks.append((now, chunk))
        self.size += len(chunk)

    def take(self, room: int, now: float) -> Sequence[bytes]:
        """The oldest chunks, about `room` bytes of them and at least one if there is any. What is left keeps its
        age: a peer that drips does not become young by it."""
        self._since = now
        taken: list[bytes] = []
        while self._chunks and room > 0:
            _, chunk = self._chunks.popleft()
            taken.append(chunk)
            room -= len(chunk)
            self.size -= len(chunk)
        return taken
