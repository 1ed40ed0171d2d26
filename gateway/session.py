"""One client's protocol state, pure: messages and answers in, effects out.

Commands are served strictly in order. A command that needs the outside asks one question (an effect); until its
answer comes, the commands behind it wait in a bounded queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from bus.namespaces import Namespaces
from gateway.effects import Answer, Claims, Effect
from gateway.wire.codes import Error, Unsubscribed


class State(Enum):
    """Where a session stands."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    REFUSED = "refused"
    """Its `connect` was answered with an error; the connection is of no more use."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a session knows of one of its topics. Shared by all that are alike."""

    recoverable: bool
    expires_at: float | None = None
    """Unix time at which its token runs out; None: it lasts as long as the connection."""


@dataclass(frozen=True, slots=True)
class SessionContext:
    """What all sessions of a node share. Times in seconds, sizes in bytes."""

    namespaces: Namespaces
    node: str
    version: str
    ping_interval: float = 25.0
    refresh_grace: float = 25.0
    """How long after a token ran out its successor may still come."""
    subscriptions: int = 128
    messages_per_second: int = 50
    queue_bytes: int = 131_072
    """How much may wait behind a command that awaits its answer."""
    errors: int = 256
    """Most error replies between two pings."""
    history_page: int = 300
    """Most publications in one history reply."""


class Session:
    """Protocol state of one connection."""

    __slots__ = ("client", "expires_at", "state", "subscriptions", "user")

    def __init__(self, client: str, context: SessionContext, secret: str = "") -> None:
        """`client` is its public id; `secret` names it to /emulation, on wires that need that."""
        self.client = client
        self.user = ""
        self.state = State.NEW
        self.expires_at: float | None = None
        self.subscriptions: dict[str, Subscription] = {}

    def feed(self, message: bytes, now: float) -> Sequence[Effect]:
        """One message of the client (commands joined by line feeds) at Unix time `now`."""
        raise NotImplementedError

    def answer(self, answer: Answer, now: float) -> Sequence[Effect]:
        """The answer to the one question asked. After the end: undoes a `Joined`, ignores the rest."""
        raise NotImplementedError

    def ping(self, now: float) -> Sequence[Effect]:
        """Time for a ping: nothing unless connected. Also starts a new count of errors."""
        raise NotImplementedError

    def overdue_pong(self, now: float) -> Sequence[Effect]:
        """The time for the pong is over: closes if it did not come."""
        raise NotImplementedError

    def expire(self, now: float) -> Sequence[Effect]:
        """End what ran out and was not refreshed within the grace; nothing when nothing did."""
        raise NotImplementedError

    def unsubscribe(self, topic: str, why: Unsubscribed) -> Sequence[Effect]:
        """The server ends a subscription: a push for a topic, the connection for the inbox (3010)."""
        raise NotImplementedError

    def closed(self) -> None:
        """The transport is gone."""
        raise NotImplementedError

    @property
    def info(self) -> bytes:
        """ClientInfo as JSON, for presence, join and leave."""
        raise NotImplementedError

    # For a transport that authenticates outside of the protocol (plain EventSource) --------------------------------

    def adopt(self, claims: Claims) -> None:
        """NEW to CONNECTED without a `connect`: there are no replies on such a wire."""
        raise NotImplementedError

    def may_subscribe(self, topic: str) -> Error | None:
        """Why the user may not subscribe to a topic (without a subscription token), or None."""
        raise NotImplementedError

    def subscribed(self, topic: str) -> None:
        """Note a topic joined on behalf of the session."""
        raise NotImplementedError
