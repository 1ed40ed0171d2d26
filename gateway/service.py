"""The service: does what sessions ask for, and gives them the answers. It knows no transport and no framing.

Everything here is a plain function called from the event loop; what needs Redis goes out through the pipe and comes
back as a callback, so a connection costs neither a task nor a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bus.clock import Clock
from bus.cursor import Cursor
from bus.keys import Keys
from bus.namespaces import Namespaces
from bus.pipe import Pipe
from gateway.admission import Admission
from gateway.attendance import Attendance
from gateway.calls import Calls
from gateway.connection import Connection
from gateway.effects import (
    Acked,
    Answer,
    Claims,
    Close,
    Denied,
    Effect,
    Failed,
    Leave,
    Question,
    Receive,
    Send,
    Verified,
)
from gateway.emulated import Emulated
from gateway.entrance import Entrance
from gateway.flusher import Flusher
from gateway.history import History
from gateway.hub import Hub
from gateway.ingest import Ingest
from gateway.joins import Joins
from gateway.listening import Listening
from gateway.names import Names
from gateway.origins import Origins
from gateway.pace import Pace
from gateway.presence import Presence
from gateway.publishing import Publishing
from gateway.questions import Questions
from gateway.receipts import Receipts
from gateway.relay import Relay
from gateway.session import Session, SessionContext, State
from gateway.settings import GatewaySettings
from gateway.stats import Stats
from gateway.telling import Telling
from gateway.verifier import Verifier
from gateway.watch import Watch
from gateway.wire.codes import Disconnect
from gateway.wire.framing import Wire, encode


@dataclass(frozen=True, slots=True)
class Parts:
    """What a service works with, put together in gateway/node.py."""

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
        self.draining = False
        self.isolated = False
        """No message comes from Redis, for long: see `gateway.health`."""
        self.joins = Joins(
            parts.pipe,
            parts.hub,
            parts.keys,
            parts.names,
            parts.stats,
            routes_ttl=int(10 * parts.settings.position_check) + 60,
            wake=parts.flusher.wake,
            on_lost=lambda topic, members: self.telling.lost(topic, members),
            pace=Pace(self.clock),
        )
        self.watch = Watch(self, parts.settings)
        self.presence = parts.presence
        self.receipts = parts.receipts
        self.admission = Admission(parts.settings, parts.pipe, parts.keys, self.node, parts.hub)
        self._attendance = Attendance(parts.context.namespaces, self.joins, parts.presence, parts.relay)
        self.telling = Telling(self.clock, self.stats, self.hub, self.watch.everyone, self.act, self._attendance.show)
        self._emulated = Emulated(self.node, parts.relay, self.received)
        self._listening = Listening(self.admission, self.joins, parts.context.revocations, self._authenticated)
        publishing = Publishing(parts.ingest, parts.names, self.clock)
        self._questions = Questions(
            parts.verifier, self.admission, self._attendance, publishing, parts.history, parts.presence, parts.calls
        )
        self._context, self._names = parts.context, parts.names
        self._verifier, self._origins = parts.verifier, parts.origins
        self._passing = Pace(self.clock)
        """Who comes and who goes, in one line, so that nobody finds their own place still taken."""
        self._entrance = Entrance(self._passing, self._serve)

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
        return not (self.draining or self.isolated) and self.admission.allows(remote, self.watch.strangers)

    def turned_away(self) -> None:
        """A handshake came too soon after too many others."""
        self.stats.turned_away += 1

    def opened(self, connection: Connection) -> None:
        """A transport can be written to; its session begins."""
        connection.session = Session(self._names.next(), self._context, self._emulated.opened(connection))
        self.admission.opened(connection)
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
        self.act(connection, connection.session.feed(message, self.clock.wall()))

    def closed(self, connection: Connection, code: int = 0) -> None:
        """The transport is gone."""
        connection.session.closed()
        self._entrance.forget(connection)
        self._emulated.closed(connection)
        self.stats.closed[code] += 1
        self._passing.enter(self._see_off, connection)

    def _see_off(self, connection: Connection) -> None:
        """Take it out of everything. Until then what is written to it is thrown away."""
        session = connection.session
        for topic in tuple(session.subscriptions):
            self._attendance.leave(connection, topic)
        self.admission.closed(connection)
        self.stats.authenticated -= session.authenticated
        self.stats.connections -= 1
        self.watch.remove(connection)

    def stalled(self, connection: Connection, stalled: bool) -> None:
        """A transport cannot write now, or can again."""
        self.watch.stalled(connection, stalled)

    def emulate(self, session: str, node: str, message: bytes, on_done: Callable[[bool | None], None]) -> None:
        """A message for an emulated connection, which may live on another node; False when there is no such, None when
        that node could not be reached."""
        self._emulated.say(session, node, message, on_done)

    def controlled(self, order: Mapping[str, Any]) -> None:
        """A control entry of the node's stream."""
        match order:
            case {"op": "emulate"}:
                self._emulated.ordered(order)
            case {"op": "forget", "user": str(user)}:
                self.telling.forget(user)
            case _:
                pass  # of a newer release

    def authenticate(self, token: str, on_answer: Callable[[Verified | Denied | Failed], None]) -> None:
        """What a token or ticket grants, for transports that authenticate outside of the protocol. `on_answer` is
        called once, perhaps before this returns."""
        if (answer := self._verifier.verify(token, None, on_answer)) is not None:
            on_answer(answer)

    def open_events(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None:
        """Begin a stream that only listens: the inbox and some topics, each from its cursor on."""
        self._listening.open(connection, claims, topics, cursors)

    # Effects -----------------------------------------------------------------------------------------------------

    def act(self, connection: Connection, effects: Sequence[Effect]) -> None:
        """Do what a session asks for, and what it asks for when it hears the answers."""
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
                        self._attendance.leave(connection, topic)
                    case Acked(first, to):
                        self._acked(connection, first, to)
                    case Receive():
                        pass  # `send` is for applications of their own; a notification service has no use for it
                    case _:
                        answer = self._ask(connection, effect)
            effects = () if answer is None else self._answered(connection, answer)
        self._write(connection, out)

    def _acked(self, connection: Connection, first: int, to: int) -> None:
        # Who has yet to be told that the log was made anew means the old one.
        if self.hub.has(connection.session.inbox, connection):
            self.receipts.acked(connection.session.user, first, to)

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
                self.act(connection, self._answered(connection, answer))
            else:
                # Served by our caller: from here it would overtake what the session said before it.
                at_once.append(answer)

        known = self._questions.ask(connection, question, later)
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

    # The end -----------------------------------------------------------------------------------------------------

    async def send_away(self) -> None:
        """No message comes from Redis: close connections with 3001 in the same way, until messages come again."""
        await self.watch.send_away(self.settings.drain_seconds, lambda: self.isolated)

    async def drain(self) -> None:
        """Close every connection with 3001, spread over the drain time, so that they do not all come back at once."""
        self.draining = True
        await self.watch.drain(self.settings.drain_seconds)
