"""Who is in a topic: a join or leave of the hub, with what the topic's rules want others to see of it."""

from __future__ import annotations

from collections.abc import Callable

from bus.cursor import Cursor
from bus.keys import INBOX
from bus.namespaces import Namespace, Namespaces
from gateway.connection import Connection
from gateway.effects import Failed, Joined
from gateway.joins import Joins
from gateway.presence import Presence
from gateway.relay import Relay
from gateway.wire.replies import push_join, push_leave

OnJoined = Callable[[Joined | Failed], None]


class Attendance:
    """Joins and leaves of one node's connections."""

    def __init__(self, namespaces: Namespaces, joins: Joins, presence: Presence, relay: Relay) -> None:
        self._namespaces, self._joins, self._presence, self._relay = namespaces, joins, presence, relay

    def join(self, connection: Connection, topic: str, recover: Cursor | None, later: OnJoined) -> Joined | None:
        """Make a connection a listener; None, and `later` is called, where Redis has to be asked."""
        rules = None if topic.startswith(INBOX) else self._namespaces.of(topic)
        if rules is None or not _is_seen(rules):
            return self._joins.join(topic, connection, recover, later)

        def entered(answer: Joined | Failed) -> None:
            later(answer)
            if isinstance(answer, Joined) and topic in connection.session.subscriptions:
                self._enter(connection, topic, rules)

        if (answer := self._joins.join(topic, connection, recover, entered)) is not None:
            self._enter(connection, topic, rules)
        return answer

    def leave(self, connection: Connection, topic: str) -> None:
        """It listens no more."""
        self._joins.leave(topic, connection)
        info = self._presence.leave(topic, connection.session.client)
        if info is not None and self._namespaces.of(topic).join_leave:
            self._relay.tell(topic, push_leave(topic, info))

    def show(self, connection: Connection) -> None:
        """Have it seen in its topics where the rules say so now, and nowhere else. Nobody is told."""
        session = connection.session
        for topic in session.subscriptions:
            if topic[0] != INBOX:
                if not _is_seen(self._namespaces.of(topic)):
                    self._presence.leave(topic, session.client)
                elif not self._presence.here(topic, session.client):
                    self._presence.enter(topic, session.client, session.info)

    def _enter(self, connection: Connection, topic: str, rules: Namespace) -> None:
        info = connection.session.info
        self._presence.enter(topic, connection.session.client, info)
        if rules.join_leave:
            self._relay.tell(topic, push_join(topic, info))


def _is_seen(rules: Namespace) -> bool:
    return rules.presence != "nobody" or rules.join_leave
