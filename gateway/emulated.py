"""Connections that only hear: what their clients say comes by requests of their own (`/emulation`), perhaps to another
node, and is brought together with them here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from secrets import token_hex
from typing import Any, Final

from bus.errors import BusError
from gateway.connection import Connection
from gateway.relay import Relay
from gateway.wire.framing import Wire

WIRES: Final = (Wire.SSE, Wire.STREAM)


class Emulated:
    """Those of one node, by the secret that only their clients know. `receive` takes what one of them says."""

    def __init__(self, node: str, relay: Relay, receive: Callable[[Connection, bytes], None]) -> None:
        self._node, self._relay, self._receive = node, relay, receive
        self._connections: dict[str, Connection] = {}

    def opened(self, connection: Connection) -> str:
        """The secret of one that has come; empty where its wire needs none."""
        if connection.wire not in WIRES:
            return ""
        secret = token_hex(16)
        self._connections[secret] = connection
        return secret

    def closed(self, connection: Connection) -> None:
        """It is gone."""
        self._connections.pop(connection.session.secret, None)

    def say(self, session: str, node: str, message: bytes, on_done: Callable[[bool | None], None]) -> None:
        """A message for one that may live on another node; False when there is no such, None when that node could not
        be reached."""
        if node == self._node:
            on_done(self._said(session, message))
            return
        order = {"op": "emulate", "session": session, "data": message.decode("utf-8", "replace")}
        self._relay.control(node, order, lambda reply: on_done(None if isinstance(reply, BusError) else reply > 0))

    def ordered(self, order: Mapping[str, Any]) -> None:
        """What another node sent."""
        match order:
            case {"session": str(session), "data": str(data)}:
                self._said(session, data.encode())
            case _:
                pass  # of a newer release

    def _said(self, session: str, message: bytes) -> bool:
        connection = self._connections.get(session)
        if connection is not None:
            self._receive(connection, message)
        return connection is not None
