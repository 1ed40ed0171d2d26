"""Telling connections what is not about them alone: what was revoked, which rules hold, who is sent away, which log is
no more. Thousands may have to hear it, so they are told at a pace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, assert_never

from bus.clock import Clock
from bus.keys import inbox_of
from gateway.connection import Connection
from gateway.effects import Close, Effect, Leave
from gateway.hub import Hub
from gateway.inspection import Inspection
from gateway.pace import Pace
from gateway.revocation import Dismissal, Order, Token, User
from gateway.session import State
from gateway.stats import Stats
from gateway.wire.codes import Disconnect, Unsubscribed
from gateway.wire.framing import Wire

DISCONNECTS: Final = {each.value.code: each for each in Disconnect}

Act = Callable[[Connection, Sequence[Effect]], None]


class Telling:
    """`everyone` gives the connections there are; `act` does what a session asks for on its own account; `show` has a
    connection seen where the rules say so now."""

    def __init__(
        self,
        clock: Clock,
        stats: Stats,
        hub: Hub,
        everyone: Callable[[], Iterable[Connection]],
        act: Act,
        show: Callable[[Connection], None],
    ) -> None:
        self._stats, self._hub, self._everyone, self._act, self._show = stats, hub, everyone, act, show
        self._pace = Pace(clock)
        self._inspection = Inspection(self._pace, everyone, self._inspect)

    def ordered(self, order: Order) -> None:
        """Something was revoked, or somebody is sent away: it holds here from now on."""
        match order:
            case User(user):
                self._inspection.user(user)
            case Token(jti):
                self._inspection.token(jti)
            case Dismissal(_, user, code):
                self._pace.later(self._dismiss, user, DISCONNECTS.get(code, Disconnect.FORCE_NO_RECONNECT))
            case _:
                assert_never(order)

    def reconsider(self) -> None:
        """The rules have changed: look at all connections again."""
        self._inspection.all()

    def forget(self, user: str) -> None:
        """A person was erased: their connections end, and are not to come back by themselves."""
        found = self._hub.topics.get(inbox_of(user))
        members = tuple(found.members) if found else ()
        self._pace.each(members, lambda member: member.close(Disconnect.FORCE_NO_RECONNECT))

    def lost(self, topic: str, members: Sequence[Connection]) -> None:
        """Those who listened to a topic missed something that cannot be filled: each recovers for itself."""

        def tell(member: Connection) -> None:
            if member.wire is Wire.EVENTS:
                member.close(Disconnect.INSUFFICIENT_STATE)
            else:
                self._act(member, member.session.unsubscribe(topic, Unsubscribed.INSUFFICIENT_STATE))

        self._pace.each(members, tell)

    def _dismiss(self, user: str, why: Disconnect) -> None:
        for connection in self._everyone():
            if connection.session.user == user:
                self._stats.revoked += 1
                connection.close(why)

    def _inspect(self, connection: Connection) -> None:
        session = connection.session
        if session.state is State.CLOSED:
            return
        effects = session.reconsider()
        if effects and isinstance(effects[-1], Close):
            self._stats.revoked += 1
        elif effects:
            self._stats.unsubscribed += sum(isinstance(effect, Leave) for effect in effects)
            if connection.wire is Wire.EVENTS:  # whose topics are those of its URL
                connection.close(Disconnect.PERMISSION_DENIED)
                return
        self._act(connection, effects)
        if connection.wire is not Wire.EVENTS:
            self._show(connection)
