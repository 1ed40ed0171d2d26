"""One client's protocol state, pure: messages and answers in, effects out.

What each command means, and how it goes on when its question is answered: the two tables at the end. Order and limits
are `gateway.intake`, who the client is and what it listens to `gateway.membership`, which input is allowed when is the
table of `gateway.states`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bus.cursor import Cursor
from gateway import rights
from gateway.effects import (
    Admit,
    Answer,
    Call,
    Claims,
    Denied,
    Done,
    Failed,
    Join,
    Joined,
    Leave,
    Page,
    Present,
    Publish,
    ReadHistory,
    ReadPresence,
    Receive,
    Returned,
    Verified,
    Verify,
)
from gateway.intake import Effects, SessionContext
from gateway.membership import RECOVERABLE, Membership, Subscription
from gateway.pings import SEND_PING
from gateway.states import Input, State
from gateway.wire import commands, replies
from gateway.wire.codes import Disconnect, Error, Unsubscribed

__all__ = ["Session", "SessionContext", "State"]

MAX_TTL: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class _Joining:
    """A command whose last question is a `Join`."""

    command: commands.Connect | commands.Subscribe
    topic: str
    subscription: Subscription


class Session(Membership):
    """Protocol state of one connection: a few hundred bytes."""

    __slots__ = ()

    def _serve(self, command: commands.Command, now: float) -> Effects:
        return _COMMANDS[type(command)](self, command, now)

    def _proceed(self, pending: commands.Command | _Joining, answer: Answer, now: float) -> Effects:
        if isinstance(answer, Denied | Failed):
            return self._not_granted(pending, answer.error, answer.detail if isinstance(answer, Failed) else "")
        return _ANSWERS[type(pending), type(answer)](self, pending, answer, now)

    def _undo(self, pending: commands.Command | _Joining, answer: Answer) -> Effects:
        return (Leave(pending.topic),) if isinstance(pending, _Joining) and isinstance(answer, Joined) else ()

    def _not_granted(self, pending: commands.Command | _Joining, error: Error | Disconnect, detail: str) -> Effects:
        command = pending.command if isinstance(pending, _Joining) else pending
        assert not isinstance(command, commands.SendMessage)
        match command, error:
            case commands.Connect(id), Error():
                return self._refuse_connect(id, error)
            case commands.Refresh(), Error.TOKEN_EXPIRED:
                return self._end(Disconnect.EXPIRED)
            case commands.SubRefresh(id, channel), Error.TOKEN_EXPIRED:
                # The push comes first: it makes SDKs subscribe again with a new token, the error alone would not.
                topic = self._topic(channel)
                return *self.unsubscribe(topic, Unsubscribed.EXPIRED), *self._refuse(id, Error.EXPIRED)
            case ((commands.Subscribe(id) | commands.SubRefresh(id)), Disconnect()):
                return self._refuse(id, Error.PERMISSION_DENIED)
            case _, Disconnect():
                return self._end(error)
            case _:
                return self._refuse(command.id, error, detail)

    # Connect -------------------------------------------------------------------------------------------------------

    def _connect(self, command: commands.Connect, now: float) -> Effects:
        if not command.token:
            return self._refuse_connect(command.id, Error.UNAUTHORIZED)
        return self._ask(command, Verify(command.token, None))

    def _verified(self, command: commands.Connect, answer: Verified, now: float) -> Effects:
        self._hold(answer.claims)
        return self._ask(command, Admit(self.user))

    def _admitted(self, command: commands.Connect, answer: Done, now: float) -> Effects:
        inbox = self.inbox
        return self._ask(_Joining(command, inbox, RECOVERABLE), Join(inbox, command.recover))

    def _connected(self, command: commands.Connect, joining: _Joining, answer: Joined, now: float) -> Effects:
        self._move(Input.ACCEPTED)
        self.subscriptions[joining.topic] = joining.subscription
        context = self._context
        result = self._who(now)
        result["ping"] = max(1, round(context.ping_interval))
        result["pong"] = True
        result["subs"] = {replies.INBOX_CHANNEL: _position(command.recover, answer)}
        if self.secret:
            result["session"] = self.secret
            result["node"] = context.node
        reply = self._reply(command.id, "connect", result)
        since = command.recover.offset if command.recover is not None and answer.recovered else answer.offset
        return (*reply, SEND_PING) if self.entered(since, answer.offset) else reply

    def _refuse_connect(self, id: int, error: Error) -> Effects:
        self.user, self.expires_at = "", None
        self._queue = None
        self._move(Input.REFUSED)
        return self._refuse(id, error)

    def _who(self, now: float) -> dict[str, Any]:
        assert self.expires_at is not None
        result = _lifetime(self.expires_at, now)
        result["client"] = self.client
        result["version"] = self._context.version
        return result

    def _refresh(self, command: commands.Refresh, now: float) -> Effects:
        return self._ask(command, Verify(command.token, None))

    def _refreshed(self, command: commands.Refresh, answer: Verified, now: float) -> Effects:
        if answer.claims.user != self.user:
            return self._end(Disconnect.INVALID_TOKEN)
        self._hold(answer.claims)
        revoked = [topic for topic, kept in self.subscriptions.items() if self._is_revoked(topic, kept)]
        ended = [effect for topic in revoked for effect in self.unsubscribe(topic, Unsubscribed.SERVER)]
        return *ended, *self._reply(command.id, "refresh", self._who(now))

    # Subscriptions -------------------------------------------------------------------------------------------------

    def _subscribe(self, command: commands.Subscribe, now: float) -> Effects:
        topic = self._topic(command.channel)
        if topic in self.subscriptions:
            return self._refuse(command.id, Error.ALREADY_SUBSCRIBED)
        if len(self.subscriptions) > self._context.subscriptions:
            return self._refuse(command.id, Error.LIMIT_EXCEEDED)
        error = rights.token_error(self._context.namespaces, topic) if command.token else self.may_subscribe(topic)
        if error is not None:
            return self._refuse(command.id, error)
        return self._ask(command, Verify(command.token, topic)) if command.token else self._join(command, topic, None)

    def _subscribe_granted(self, command: commands.Subscribe, answer: Verified, now: float) -> Effects:
        topic = self._topic(command.channel)
        if not self._is_for(answer.claims, topic):
            return self._refuse(command.id, Error.PERMISSION_DENIED)
        return self._join(command, topic, answer.claims)

    def _join(self, command: commands.Subscribe, topic: str, own: Claims | None) -> Effects:
        topic = sys.intern(topic)  # a busy topic's name is in memory once
        subscription = self._kind(topic, own)
        recover = command.recover if subscription.recoverable else None
        return self._ask(_Joining(command, topic, subscription), Join(topic, recover))

    def _joined(self, joining: _Joining, answer: Joined, now: float) -> Effects:
        if isinstance(joining.command, commands.Connect):
            return self._connected(joining.command, joining, answer, now)
        return self._entered(joining.command, joining, answer, now)

    def _entered(self, command: commands.Subscribe, joining: _Joining, answer: Joined, now: float) -> Effects:
        if command.strict and command.recover is not None and not answer.recovered:
            return Leave(joining.topic), *self._refuse(command.id, Error.UNRECOVERABLE_POSITION)
        if self._is_revoked(joining.topic, joining.subscription):  # since it was asked for
            return Leave(joining.topic), *self._refuse(command.id, Error.PERMISSION_DENIED)
        subscription = self.subscriptions[joining.topic] = joining.subscription
        result = _position(command.recover, answer) if subscription.recoverable else {}
        if subscription.expires_at is not None:
            result |= _lifetime(subscription.expires_at, now)
        return self._reply(command.id, "subscribe", result)

    def _unsubscribe(self, command: commands.Unsubscribe, now: float) -> Effects:
        topic = self._topic(command.channel)
        if topic == self.inbox:
            return self._refuse(command.id, Error.PERMISSION_DENIED)
        left = (Leave(topic),) if self.subscriptions.pop(topic, None) is not None else ()
        return *left, *self._reply(command.id, "unsubscribe", {})

    def _sub_refresh(self, command: commands.SubRefresh, now: float) -> Effects:
        topic = self._topic(command.channel)
        subscription = self.subscriptions.get(topic)
        if subscription is None:
            return self._refuse(command.id, Error.PERMISSION_DENIED)
        if subscription.expires_at is None or not command.token:
            return self._refuse(command.id, Error.BAD_REQUEST)
        return self._ask(command, Verify(command.token, topic))

    def _sub_refreshed(self, command: commands.SubRefresh, answer: Verified, now: float) -> Effects:
        topic = self._topic(command.channel)
        # The server may have ended it while the token was looked at.
        if topic not in self.subscriptions or not self._is_for(answer.claims, topic):
            return self._refuse(command.id, Error.PERMISSION_DENIED)
        self.subscriptions[topic] = self._kind(topic, answer.claims)
        return self._reply(command.id, "sub_refresh", _lifetime(answer.claims.expires_at, now))

    # Topics ----------------------------------------------------------------------------------------------------------

    def _publish(self, command: commands.Publish, now: float) -> Effects:
        topic = self._topic(command.channel)
        if not command.data:
            return self._refuse(command.id, Error.BAD_REQUEST)
        if error := rights.publish_error(self._context.namespaces, self._standing, topic):
            return self._refuse(command.id, error)
        return self._ask(command, Publish(topic, command.data, self.info))

    def _published(self, command: commands.Publish, answer: Done, now: float) -> Effects:
        return self._reply(command.id, "publish", {})

    def _presence(self, command: commands.Presence | commands.PresenceStats, now: float) -> Effects:
        topic = self._topic(command.channel)
        if error := rights.presence_error(self._context.namespaces, self._standing, topic):
            return self._refuse(command.id, error)
        return self._ask(command, ReadPresence(topic, isinstance(command, commands.PresenceStats)))

    def _present(self, command: commands.Presence, answer: Present, now: float) -> Effects:
        shown = {client: replies.raw(info) for client, info in answer.clients}
        return self._reply(command.id, "presence", {"presence": shown})

    def _counted(self, command: commands.PresenceStats, answer: Present, now: float) -> Effects:
        users = {orjson.loads(info).get("user") for _, info in answer.clients}
        result = {"num_clients": len(answer.clients), "num_users": len(users)}
        return self._reply(command.id, "presence_stats", result)

    def _history(self, command: commands.History, now: float) -> Effects:
        topic = self._topic(command.channel)
        if error := rights.history_error(self._context.namespaces, self._standing, topic):
            return self._refuse(command.id, error)
        page = self._context.history_page
        limit = command.limit if 0 <= command.limit <= page else page
        return self._ask(command, ReadHistory(topic, limit, command.since, command.reverse))

    def _read(self, command: commands.History, answer: Page, now: float) -> Effects:
        publications = replies.publications(answer.publications)
        result = {"publications": publications, "epoch": answer.epoch, "offset": answer.offset}
        return self._reply(command.id, "history", result)

    # Calls and messages ----------------------------------------------------------------------------------------------

    def _rpc(self, command: commands.Rpc, now: float) -> Effects:
        return self._ask(command, Call(command.method, command.data))

    def _returned(self, command: commands.Rpc, answer: Returned, now: float) -> Effects:
        return self._reply(command.id, "rpc", {"data": replies.raw(answer.data)} if answer.data else {})

    def _send(self, command: commands.SendMessage, now: float) -> Effects:
        return (Receive(command.data),)

    def _unknown(self, command: commands.Unknown, now: float) -> Effects:
        return self._refuse(command.id, Error.NOT_AVAILABLE)


def _lifetime(expires_at: float, now: float) -> dict[str, Any]:
    """A token may be in its leeway, but no client expects a `ttl` below one."""
    return {"expires": True, "ttl": min(max(1, int(expires_at - now)), MAX_TTL)}


def _position(recover: Cursor | None, joined: Joined) -> dict[str, Any]:
    """Where a client stands. One that recovers is told its own offset, from which the publications lead it on."""
    result: dict[str, Any] = {
        "recoverable": True,
        "positioned": True,
        "epoch": joined.epoch,
        "offset": joined.offset,
    }
    if recover is not None:
        result["was_recovering"] = True
        if joined.recovered:
            result["recovered"] = True
            result["offset"] = recover.offset
            result["publications"] = replies.publications(joined.publications)
    return result


_COMMANDS: Final[Mapping[type, Callable[[Session, Any, float], Effects]]] = {
    commands.Connect: Session._connect,
    commands.Subscribe: Session._subscribe,
    commands.Unsubscribe: Session._unsubscribe,
    commands.Publish: Session._publish,
    commands.Presence: Session._presence,
    commands.PresenceStats: Session._presence,
    commands.History: Session._history,
    commands.Rpc: Session._rpc,
    commands.SendMessage: Session._send,
    commands.Refresh: Session._refresh,
    commands.SubRefresh: Session._sub_refresh,
    commands.Unknown: Session._unknown,
}
"""What serves a command."""

_ANSWERS: Final[Mapping[tuple[type, type], Callable[[Session, Any, Any, float], Effects]]] = {
    (commands.Connect, Verified): Session._verified,
    (commands.Connect, Done): Session._admitted,
    (_Joining, Joined): Session._joined,
    (commands.Subscribe, Verified): Session._subscribe_granted,
    (commands.Publish, Done): Session._published,
    (commands.Presence, Present): Session._present,
    (commands.PresenceStats, Present): Session._counted,
    (commands.History, Page): Session._read,
    (commands.Rpc, Returned): Session._returned,
    (commands.Refresh, Verified): Session._refreshed,
    (commands.SubRefresh, Verified): Session._sub_refreshed,
}
"""What goes on with a command when its question is answered."""
