"""Who a client is and what it listens to: what its tokens grant, and what ends that. Pure.

A token that ran out, a revocation, a changed rule: each takes away what rests on it, and nothing else.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

from bus.keys import inbox_of
from gateway import rights
from gateway.effects import UNSTAMPED, Claims, Leave, Send, Stamp
from gateway.intake import Effects, Intake, SessionContext
from gateway.revocation import CLOSINGS
from gateway.states import Input, State
from gateway.wire import replies
from gateway.wire.codes import Disconnect, Error, Unsubscribed


@dataclass(frozen=True, slots=True)
class Subscription:
    """What a session knows of one of its topics. Shared by all that are alike."""

    recoverable: bool
    expires_at: float | None = None
    """Unix time at which its own token runs out; None: it lasts as long as the connection."""
    stamp: Stamp = UNSTAMPED
    """Of its own token."""


RECOVERABLE: Final = Subscription(True)
PLAIN: Final = Subscription(False)
_NO_TOPICS: Final[tuple[str, ...]] = ()


class Membership(Intake):
    """What a session is beside its conversation: whose, until when, and in which topics."""

    __slots__ = ("_granted", "_shown", "client", "expires_at", "secret", "stamp", "subscriptions", "user")

    def __init__(self, client: str, context: SessionContext, secret: str = "") -> None:
        """`client` is its public id; `secret` names it to /emulation, on wires that need that."""
        super().__init__(context)
        self.client = client
        self.secret = secret
        self.user = ""
        self.expires_at: float | None = None
        """Unix time at which its token runs out."""
        self.stamp = UNSTAMPED
        """What its token is known by to a revocation: always that of the newest, on which it rests."""
        self.subscriptions: dict[str, Subscription] = {}
        """By topic; the inbox is one of them."""
        self._granted = _NO_TOPICS
        self._shown = b""

    # What the outside may ask and tell ------------------------------------------------------------------------------

    def expire(self, now: float) -> Effects:
        """End what ran out and was not refreshed within the grace; nothing when nothing did."""
        if self._over:
            return ()
        if self.expires_at is not None and self._ran_out(self.expires_at, now):
            return self._end(Disconnect.EXPIRED)
        gone = [topic for topic, kept in self.subscriptions.items() if self._ran_out(kept.expires_at, now)]
        return [effect for topic in gone for effect in self.unsubscribe(topic, Unsubscribed.EXPIRED)]

    def unsubscribe(self, topic: str, why: Unsubscribed) -> Effects:
        """The server ends a subscription: a push for a topic, the connection (3010) for the inbox."""
        if self._over or topic not in self.subscriptions:
            return ()
        if topic == self.inbox:
            return self._end(Disconnect.INSUFFICIENT_STATE)
        del self.subscriptions[topic]
        return Leave(topic), Send(replies.push_unsubscribe(replies.channel_of(topic), why.value))

    def reconsider(self) -> Effects:
        """Something was revoked, or rules have changed: end what is no longer granted, and nothing else."""
        if self._over or not self.user:
            return ()
        verdict = self._context.revocations.judge(self.user, self.stamp)
        if verdict is not None:
            return self._end(CLOSINGS[verdict])
        gone = [topic for topic, kept in self.subscriptions.items() if self._is_revoked(topic, kept)]
        return [effect for topic in gone for effect in self.unsubscribe(topic, Unsubscribed.SERVER)]

    @property
    def authenticated(self) -> bool:
        """Whether it is connected, or was when it ended."""
        return bool(self.user) and self.state is not State.CONNECTING

    @property
    def inbox(self) -> str:
        """The topic of the user's inbox."""
        return inbox_of(self.user)

    @property
    def info(self) -> bytes:
        """ClientInfo as JSON, for presence, join and leave."""
        return replies.client_info(self.user, self.client, self._shown)

    # For a transport that authenticates outside of the protocol (plain EventSource) --------------------------------

    def adopt(self, claims: Claims) -> None:
        """NEW to CONNECTED without a `connect`: there are no replies on such a wire."""
        self._move(Input.ADOPTED)
        self._hold(claims)

    def may_subscribe(self, topic: str) -> Error | None:
        """Why the user may not subscribe to a topic (without a token for it), or None."""
        return rights.subscribe_error(self._context.namespaces, self._standing, topic)

    def subscribed(self, topic: str) -> None:
        """Note a topic joined on behalf of the session."""
        self.subscriptions[sys.intern(topic)] = self._kind(topic, None)

    # For the meaning of commands -------------------------------------------------------------------------------------

    def _hold(self, claims: Claims) -> None:
        self.user = claims.user
        self.expires_at = claims.expires_at
        self.stamp = claims.stamp
        self._granted = tuple(map(sys.intern, claims.topics)) if claims.topics else _NO_TOPICS
        self._shown = claims.info

    def _is_revoked(self, topic: str, subscription: Subscription) -> bool:
        """Whether what it rests on, its own token or else the connection's, no longer grants it."""
        if topic == self.inbox:
            return False
        rule = self._context.namespaces.of(topic).subscribe
        if subscription.expires_at is None:
            return not self._standing.meets(rule, topic)
        return rule == "nobody" or self._context.revocations.judge(self.user, subscription.stamp) is not None

    def _is_for(self, claims: Claims, topic: str) -> bool:
        return claims.user == self.user and claims.topic == topic

    def _topic(self, channel: str) -> str:
        return replies.topic_of(channel, self.user)

    def _kind(self, topic: str, own: Claims | None) -> Subscription:
        recoverable = topic == self.inbox or self._context.namespaces.of(topic).recoverable
        if own is not None:
            return Subscription(recoverable, own.expires_at, own.stamp)
        return RECOVERABLE if recoverable else PLAIN

    @property
    def _standing(self) -> rights.Standing:
        return rights.Standing(self.inbox, self._granted, self.subscriptions)

    def _ran_out(self, expires_at: float | None, now: float) -> bool:
        return expires_at is not None and now >= expires_at + self._context.refresh_grace

    def _end(self, disconnect: Disconnect) -> Effects:
        if self.state is State.CONNECTING:
            self.user = ""
        return super()._end(disconnect)
