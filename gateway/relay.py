"""What one node says to another, through the other's stream on the bus."""

from __future__ import annotations

from typing import Any

import orjson

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import OnReply, Pipe, Reply


class Relay:
    """Entries for other nodes; a node that is not alive gets none."""

    def __init__(self, pipe: Pipe, keys: Keys, stream: int, stream_ttl: float) -> None:
        self._pipe, self._keys = pipe, keys
        self._stream, self._stream_ttl = stream, int(stream_ttl * 1000)

    def _deliver(self, node: str, fields: tuple[str | bytes, ...], on_reply: OnReply) -> None:
        keys = self._keys
        names = (keys.node_deliveries(node), keys.node_sequence(node), keys.node_alive(node))
        self._pipe.post_script("deliver", names, (self._stream, self._stream_ttl, *fields), on_reply)

    def control(self, node: str, order: dict[str, Any], on_reply: OnReply) -> None:
        """A control entry; the reply is its number, 0 when there is no such node, or a `BusError`."""
        self._deliver(node, ("k", "c", "c", orjson.dumps(order)), on_reply)

    def publish(self, node: str, user: str, offset: int, epoch: str, publication: bytes) -> None:
        """A publication of a user's inbox (the inside of a JSON object) that is in its log already. One that is lost is
        found by the position check."""
        self._deliver(node, ("k", "u", "u", orjson.dumps([[user, offset, epoch]]), "b", publication), ignore)

    def tell(self, topic: str, push: bytes) -> None:
        """A push without a place in history, for all listeners of a topic on all nodes."""

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                return
            for node in reply:
                self._deliver(node.decode(), ("k", "p", "t", topic, "b", push), ignore)

        self._pipe.post(("HKEYS", self._keys.routes(topic)), answered)


def ignore(reply: Reply) -> None:
    """For commands whose reply changes nothing: what they leave undone is put right by the next periodic check."""
