"""The service: does what sessions ask for, and gives them the answers. It knows no transport and no framing.

Everything here is a plain function called from the event loop; what needs Redis goes out through the pipe and comes
back as a callback, so a connection costs neither a task nor a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Final, assert_never

import orjson

from bus.clock import Clock
from bus.cursor import Cursor
from bus.errors import BusError, Overloaded
from bus.event import MESSAGE, Event
from bus.keys import INBOX, Keys, inbox_of
from bus.namespaces import Namespace, Namespaces
from bus.pipe import Pipe
from gateway.calls import Calls
from gateway.connection import Connection
from gateway.effects import (
    Acked,
    Admit,
    Answer,
    Call,
    Claims,
    Close,
    Denied,
    Done,
    Effect,
    Failed,
    Join,
    Joined,
    Leave,
    Publish,
    Question,
    ReadHistory,
    ReadPresence,
    Receive,
    Send,
    Verified,
    Verify,
)
from gateway.entrance import Entrance
from gateway.flusher import Flusher
from gateway.history import History
from gateway.hub import Hub
from gateway.ingest import CLIENT, Accepted, Ingest, Position, TooLarge
from gateway.inspection import Inspection
from gateway.joins import Joins
from gateway.limits import Tally
from gateway.names import Names
from gateway.origins import Origins
from gateway.pace import Pace
from gateway.places import Places, address_digest
from gateway.presence import Presence
from gateway.receipts import Receipts
from gateway.relay import Relay
from gateway.revocation import Dismissal, Order, Token, User
from gateway.session import Session, SessionContext, State
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.verifier import Verifier
from gateway.watch import Watch
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from gateway.wire.framing import Wire, encode
from gateway.wire.replies import push_join, push_leave

DISCONNECTS: Final = {each.value.code: each for each in Disconnect}
EMULATED: Final = (Wire.SSE, Wire.STREAM)
OnAnswer = Callable[[Answer], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service works with, put together in gateway/main.py."""

    settings: GatewaySettings
    clock: Clock
    keys: Keys
    pipe: Pipe
    context: SessionContext
    names: Names
    hub: Hub
    flusher: Flusher
    stats: Stats
    verifier: Verifier
    ingest: Ingest
    presence: Presence
    relay: Relay
    history: History
    calls: Calls
    receipts: Receipts
    origins: Origins


class Service:
    """One node's sessions. Transports call `opened`, `received`, `closed`; nothing here waits."""

    def __init__(self, parts: Parts) -> None:
        self.settings, self.clock, self.stats = parts.settings, parts.clock, parts.stats
        self.node = parts.context.node
        self.grace = parts.context.refresh_grace
        self.hub = parts.hub
        self._passing, self._telling = Pace(self.clock), Pace(self.clock)
        """Who comes and goes, in one line, so that nobody finds their own place still taken; and who is told of things
        that are not about them alone."""
        self.joins = Joins(
            parts.pipe,
            parts.hub,
            parts.keys,
            parts.names,
            parts.stats,
            routes_ttl=int(10 * parts.settings.position_check) + 60,
            wake=parts.flusher.wake,
            on_lost=self._lost,
            pace=Pace(self.clock),
        )
        self.watch = Watch(self, parts.settings)
        self.presence = parts.presence
        self.receipts = parts.receipts
        self._names = parts.names
        self._context, self._verifier, self._ingest = parts.context, parts.verifier, parts.ingest
        self._relay, self._history, self._calls, self._origins = parts.relay, parts.history, parts.calls, parts.origins
        self._emulated: dict[str, Connection] = {}
        self._by_address = Tally(parts.settings.connections_per_address)
        keys, digest = parts.keys, address_digest(parts.settings)
        self.users = Places(parts.pipe, keys.places, self.node, parts.settings.connections_per_user)
        self.addresses = Places(
            parts.pipe,
            lambda remote: keys.address_places(digest(remote)),
            self.node,
            parts.settings.connections_per_address,
        )
        self._entrance = Entrance(self._passing, self._serve)
        self.draining = False
        self.isolated = False
        """No message comes from Redis, for long: see `gateway.health`."""
        self._inspection = Inspection(self._telling, self.watch.everyone, self._inspect)

    # Transports --------------------------------------------------------------------------------------------------

    @property
    def namespaces(self) -> Namespaces:
        """The rules of all topics, as they are now."""
        return self._context.namespaces

    def origin_allowed(self, origin: str | None, host: str) -> bool:
        """Whether a page of this origin may connect; a client without one is not a browser."""
        return self._origins.allowed(origin, host)

    def admit(self, remote: str) -> bool:
        """Whether one more connection from this address can be taken."""
        if self.draining or self.isolated or self.watch.strangers >= self.settings.max_unauthenticated:
            return False
        return self.addresses.allows(remote, self._by_address.count(remote))

    def turned_away(self) -> None:
        """A handshake came too soon after too many others."""
        self.stats.turned_away += 1

    def opened(self, connection: Connection) -> None:
        """A transport can be written to; its session begins."""
        secret = token_hex(16) if connection.wire in EMULATED else ""
        connection.session = Session(self._names.next(), self._context, secret)
        if secret:
            self._emulated[secret] = connection
        self._by_address.take(connection.remote)
        self.stats.connections += 1
        self.stats.opened += 1
        self.watch.add(connection)

    def received(self, connection: Connection, message: bytes) -> None:
        """A message of the client: commands joined by line feeds."""
        self.stats.messages += 1
        if connection.session.state is State.NEW or self._entrance.waits(connection):
            if not self._entrance.enter(connection, message):
                connection.close(Disconnect.TOO_MANY_REQUESTS)
        else:
            self._serve(connection, message)

    def _serve(self, connection: Connection, message: bytes) -> None:
        self._act(connection, connection.session.feed(message, self.clock.wall()))

    def closed(self, connection: Connection, code: int = 0) -> None:
        """The transport is gone."""
        session = connection.session
        session.closed()
        self._entrance.forget(connection)
        if session.secret:
            self._emulated.pop(session.secret, None)
        self.stats.closed[code] += 1
        self._passing.enter(self._see_off, connection)

    def _see_off(self, connection: Connection) -> None:
        """Take it out of everything. Until then what is written to it is thrown away."""
        session = connection.session
        for topic in tuple(session.subscriptions):
            self._leave(connection, topic)
        self._by_address.release(connection.remote)
        self.addresses.left(connection.remote, self._by_address.count(connection.remote))
        if session.authenticated:
            self.stats.authenticated -= 1
            self.users.left(session.user, self._here(session.user))
        self.stats.connections -= 1
        self.watch.remove(connection)

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """A transport cannot write now, or can again."""
        self.watch.stalled(connection, stalled)

    def emulate(self, session: str, node: str, message: bytes, on_done: Callable[[bool | None], None]) -> None:
        """A message for an emulated connection, which may live on another node; False when there is no such, None when
        that node could not be reached."""
        if node != self.node:
            order = {"op": "emulate", "session": session, "data": message.decode("utf-8", "replace")}
            self._relay.control(node, order, lambda reply: on_done(None if isinstance(reply, BusError) else reply > 0))
            return
        connection = self._emulated.get(session)
        if connection is not None:
            self.received(connection, message)
        on_done(connection is not None)

    def controlled(self, order: Mapping[str, Any]) -> None:
        """A control entry of the node's stream."""
        match order:
            case {"op": "emulate", "session": str(session), "data": str(data)}:
                if (connection := self._emulated.get(session)) is not None:
                    self.received(connection, data.encode())
            case {"op": "forget", "user": str(user)}:
                self._forget(user)
            case _:
                pass  # of a newer release

    def ordered(self, order: Order) -> None:
        """Something was revoked, or somebody is sent away: it holds here from now on."""
        match order:
            case User(user):
                self._inspection.user(user)
            case Token(jti):
                self._inspection.token(jti)
            case Dismissal(_, user, code):
                self._telling.later(self._dismiss, user, DISCONNECTS.get(code, Disconnect.FORCE_NO_RECONNECT))
            case _:
                assert_never(order)

    def _dismiss(self, user: str, why: Disconnect) -> None:
        for connection in self.watch.everyone():
            if connection.session.user == user:
                self.stats.revoked += 1
                connection.close(why)

    def reconsider(self) -> None:
        """The rules have changed: look at all connections again."""
        self._inspection.all()

    def _inspect(self, connection: Connection) -> None:
        session = connection.session
        if session.state is State.CLOSED:
            return
        effects = session.reconsider()
        if effects and isinstance(effects[-1], Close):
            self.stats.revoked += 1
        elif effects:
            self.stats.unsubscribed += sum(isinstance(effect, Leave) for effect in effects)
            if connection.wire is Wire.EVENTS:  # whose topics are those of its URL
                connection.close(Disconnect.PERMISSION_DENIED)
                return
        self._act(connection, effects)
        if connection.wire is not Wire.EVENTS:
            self._show(connection)

    def _show(self, connection: Connection) -> None:
        """Presence is kept where the rules say so now."""
        session = connection.session
        for topic in session.subscriptions:
            if topic[0] != INBOX:
                rules = self._context.namespaces.of(topic)
                if rules.presence == "nobody" and not rules.join_leave:
                    self.presence.leave(topic, session.client)
                elif not self.presence.here(topic, session.client):
                    self.presence.enter(topic, session.client, session.info)

    # Plain EventSource -------------------------------------------------------------------------------------------

    def authenticate(self, token: str, on_answer: Callable[[Verified | Denied | Failed], None]) -> None:
        """What a token or ticket grants, for transports that authenticate outside of the protocol. `on_answer` is
        called once, perhaps before this returns."""
        if (answer := self._verifier.verify(token, None, on_answer)) is not None:
            on_answer(answer)

    def open_events(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None:
        """Begin a stream that only listens: the inbox and some topics, each from its cursor on."""

        def admitted(answer: Answer) -> None:
            if connection.session.state is State.CLOSED:
                return
            if isinstance(answer, Done):
                self._begin_events(connection, claims, topics, cursors)
            else:
                denied = isinstance(answer, Denied)
                connection.close(Disconnect.CONNECTION_LIMIT if denied else Disconnect.SERVER_ERROR)

        if (known := self._admit_user(claims.user, admitted)) is not None:
            admitted(known)

    def _begin_events(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None:
        if self._context.revocations.judge(claims.user, claims.stamp) is not None:  # since the token was looked at
            connection.close(Disconnect.INVALID_TOKEN)
            return
        session = connection.session
        session.adopt(claims)
        self._authenticated(connection)
        for topic in (inbox_of(claims.user), *topics):
            if topic[0] != INBOX and session.may_subscribe(topic) is not None:
                connection.close(Disconnect.PERMISSION_DENIED)
                return
        for topic in (inbox_of(claims.user), *topics):
            self._open_topic(connection, topic, cursors.get(topic))

    def _open_topic(self, connection: Connection, topic: str, recover: Cursor | None) -> None:
        def answered(answer: Joined | Failed) -> None:
            if connection.session.state is State.CLOSED:
                if isinstance(answer, Joined):
                    self.joins.leave(topic, connection)
            elif isinstance(answer, Failed):
                connection.close(Disconnect.SERVER_ERROR)
            elif topic[0] != INBOX and connection.session.may_subscribe(topic) is not None:
                self.joins.leave(topic, connection)  # since it was asked for
                connection.close(Disconnect.PERMISSION_DENIED)
            else:
                connection.session.subscribed(topic)
                connection.joined(topic, answer, recover is not None)

        if (answer := self.joins.join(topic, connection, recover, answered)) is not None:
            answered(answer)

    # Effects -----------------------------------------------------------------------------------------------------

    def act(self, connection: Connection, effects: Sequence[Effect]) -> None:
        """Do what a session asked for on its own account (ping, expiry, server-side unsubscribe)."""
        self._act(connection, effects)

    def _act(self, connection: Connection, effects: Sequence[Effect]) -> None:
        out: list[bytes] = []
        while effects:
            answer: Answer | None = None
            for effect in effects:
                match effect:
                    case Send(payload):
                        out.append(encode(connection.wire, payload))
                    case Close(disconnect):
                        self._write(connection, out)
                        connection.close(disconnect)
                        return
                    case Leave(topic):
                        self._leave(connection, topic)
                    case Acked(first, to):
                        self.receipts.acked(connection.session.user, first, to)
                    case Receive():
                        pass  # `send` is for applications of their own; a notification service has no use for it
                    case _:
                        answer = self._ask(connection, effect)
            effects = () if answer is None else self._answered(connection, answer)
        self._write(connection, out)

    def _write(self, connection: Connection, out: list[bytes]) -> None:
        if out and connection.wire is not Wire.EVENTS:
            connection.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def _ask(self, connection: Connection, question: Question) -> Answer | None:
        """The answer where it is known at once; else it goes to the session when it comes."""
        at_once: list[Answer] = []
        returned = False

        def later(answer: Answer) -> None:
            if returned:
                self._act(connection, self._answered(connection, answer))
            else:
                # Served by our caller: from here it would overtake what the session said before it.
                at_once.append(answer)

        known = self._question(connection, question, later)
        returned = True
        return at_once[0] if at_once else known

    def _answered(self, connection: Connection, answer: Answer) -> Sequence[Effect]:
        before = connection.session.state
        effects = connection.session.answer(answer, self.clock.wall())
        if before is not State.CONNECTED and connection.session.state is State.CONNECTED:
            self._authenticated(connection)
        elif isinstance(answer, Verified):
            self.watch.watch_expiry(connection)
        return effects

    def _authenticated(self, connection: Connection) -> None:
        self.stats.authenticated += 1
        self.watch.authenticated(connection)

    def _question(self, connection: Connection, question: Question, later: OnAnswer) -> Answer | None:
        match question:
            case Verify(token, topic):
                return self._verifier.verify(token, topic, later)
            case Admit(user):
                return self._admit_user(user, later)
            case Join(topic, recover):
                return self._join(connection, topic, recover, later)
            case Publish(topic, data, info):
                self._publish(topic, data, info, later)
            case ReadHistory():
                self._read_history(question, later)
            case ReadPresence(topic):
                self.presence.who(topic, later)
            case Call(method, data):
                self._calls.call(connection, method, data, later)
            case _:
                assert_never(question)
        return None

    def _admit_user(self, user: str, later: OnAnswer) -> Answer | None:
        if self.users.shares.allows(user, self._here(user)):
            return Done()

        def answered(allowed: bool | None) -> None:
            if allowed is None:
                later(Failed(Error.INTERNAL))
            else:
                later(Done() if allowed else Denied(Disconnect.CONNECTION_LIMIT))

        self.users.ask(user, lambda: self._here(user), answered)
        return None

    def _of_people(self) -> Iterator[tuple[str, int]]:
        for name, topic in self.hub.topics.items():
            if name.startswith(INBOX):
                yield name.removeprefix(INBOX), len(topic.members) + topic.joining

    async def keep_places(self, nodes: Callable[[], int]) -> None:
        """Keep the limits on connections that all nodes share, until cancelled. `nodes`: how many there are."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.users.run(nodes, self._of_people))
            group.create_task(self.addresses.run(nodes, self._by_address.counts))

    def _here(self, user: str) -> int:
        """How many connections a person has on this node. Those whose join is under way count too, else any number who
        come at once would be let in."""
        topic = self.hub.topics.get(inbox_of(user))
        return 0 if topic is None else len(topic.members) + topic.joining

    # Topics ------------------------------------------------------------------------------------------------------

    def _join(self, connection: Connection, topic: str, recover: Cursor | None, later: OnAnswer) -> Answer | None:
        rules = None if topic.startswith(INBOX) else self._context.namespaces.of(topic)
        if rules is None or (rules.presence == "nobody" and not rules.join_leave):
            return self.joins.join(topic, connection, recover, later)

        def entered(answer: Joined | Failed) -> None:
            later(answer)
            if isinstance(answer, Joined) and topic in connection.session.subscriptions:
                self._enter(connection, topic, rules)

        if (answer := self.joins.join(topic, connection, recover, entered)) is not None:
            self._enter(connection, topic, rules)
        return answer

    def _enter(self, connection: Connection, topic: str, rules: Namespace) -> None:
        info = connection.session.info
        self.presence.enter(topic, connection.session.client, info)
        if rules.join_leave:
            self._relay.tell(topic, push_join(topic, info))

    def _leave(self, connection: Connection, topic: str) -> None:
        self.joins.leave(topic, connection)
        info = self.presence.leave(topic, connection.session.client)
        if info is not None and self._context.namespaces.of(topic).join_leave:
            self._relay.tell(topic, push_leave(topic, info))

    def _forget(self, user: str) -> None:
        """A person was erased: their connections end, and are not to come back by themselves."""
        found = self.hub.topics.get(inbox_of(user))
        members = tuple(found.members) if found else ()
        self._telling.each(members, lambda member: member.close(Disconnect.FORCE_NO_RECONNECT))

    def _lost(self, topic: str, members: Sequence[Connection]) -> None:
        """Those who listened to a topic missed something that cannot be filled: each recovers for itself."""

        def tell(member: Connection) -> None:
            if member.wire is Wire.EVENTS:
                member.close(Disconnect.INSUFFICIENT_STATE)
            else:
                self._act(member, member.session.unsubscribe(topic, Unsubscribed.INSUFFICIENT_STATE))

        self._telling.each(members, tell)

    def _publish(self, topic: str, data: bytes, info: bytes, later: OnAnswer) -> None:
        event = Event(
            id=self._names.next(),
            source="client",
            type=MESSAGE,
            created_at=self.clock.wall(),
            topics=(topic,),
            data=orjson.loads(data),
            extra={"info": orjson.loads(info)} if info else {},
        )

        def accepted(answer: Accepted) -> None:
            match answer:
                case Position():
                    later(Done())
                case TooLarge():
                    later(Failed(Error.LIMIT_EXCEEDED))
                case Overloaded():
                    later(Failed(Error.TOO_MANY_REQUESTS))
                case _:
                    later(Failed(Error.INTERNAL))

        self._ingest.post(event, CLIENT, accepted)

    def _read_history(self, asked: ReadHistory, later: OnAnswer) -> None:
        self._history.read(asked.topic, asked.limit, asked.since, asked.reverse, later)

    # The end -----------------------------------------------------------------------------------------------------

    async def send_away(self) -> None:
        """No message comes from Redis: close connections with 3001 in the same way, until messages come again."""
        await self.watch.send_away(self.settings.drain_seconds, lambda: self.isolated)

    async def drain(self) -> None:
        """Close every connection with 3001, spread over the drain time, so that they do not all come back at once."""
        self.draining = True
        await self.watch.drain(self.settings.drain_seconds)
