"""Presence: who is in a topic, kept in Redis by every node for its own clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe, Reply
from gateway.effects import Failed, Present
from gateway.relay import ignore
from gateway.wire.codes import Error

CHUNK = 500
"""Clients per call, so that no script holds Redis for long."""


class Presence:
    """What this node has said of its own clients, and says again before it expires."""

    def __init__(self, pipe: Pipe, keys: Keys, ttl: float) -> None:
        self._pipe, self._keys = pipe, keys
        self._ttl = int(ttl * 1000)
        self._here: dict[str, dict[str, bytes]] = {}
        self._round: Iterator[str] = iter(())
        self._due = 0.0
        """Topics to be said again, in parts of one: few topics are not due at every step."""

    def enter(self, topic: str, client: str, info: bytes) -> None:
        """A client came; `info` is its ClientInfo as JSON."""
        self._here.setdefault(topic, {})[client] = info
        self._add(topic, [(client, info)])

    def here(self, topic: str, client: str) -> bool:
        """Whether one of this node's clients is in a topic."""
        return client in self._here.get(topic, ())

    def leave(self, topic: str, client: str) -> bytes | None:
        """A client went; gives its info back, None when it was not there."""
        clients = self._here.get(topic)
        info = clients.pop(client, None) if clients else None
        if info is None:
            return None
        if not clients:
            del self._here[topic]
        self._pipe.post_script("presence_remove", self._both(topic), (client,), ignore)
        return info

    def _add(self, topic: str, clients: list[tuple[str, bytes]]) -> None:
        flat = [part for pair in clients for part in pair]
        self._pipe.post_script("presence_add", self._both(topic), (self._ttl, *flat), ignore)

    def _both(self, topic: str) -> tuple[str, str]:
        return self._keys.presence(topic), self._keys.presence_expiry(topic)

    def refresh_some(self, share: float) -> None:
        """Say again who is in the next topics in turn: `share` is the part of all that is due now."""
        self._due += len(self._here) * share
        while self._due >= 1:
            topic = next(self._round, None)
            if topic is None:
                self._round = iter(tuple(self._here))
                continue
            clients = list(self._here.get(topic, {}).items())
            self._due -= bool(clients)  # who has gone since the round began takes no turn
            for start in range(0, len(clients), CHUNK):
                self._add(topic, clients[start : start + CHUNK])

    def who(self, topic: str, on_answer: Callable[[Present | Failed], None]) -> None:
        """Everybody in a topic, on all nodes."""

        def answered(reply: Reply) -> None:
            if isinstance(reply, BusError):
                on_answer(Failed(Error.INTERNAL))
            else:
                pairs = zip(reply[::2], reply[1::2], strict=True)
                on_answer(Present(tuple((client.decode(), info) for client, info in pairs)))

        self._pipe.post_script("presence_list", self._both(topic), (), answered)
