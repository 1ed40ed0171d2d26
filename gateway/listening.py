"""What plain EventSource streams do: they only listen, to the inbox and the topics of their URL, each from its cursor
on. Who they are was found out before there was a stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from bus.cursor import Cursor
from bus.keys import INBOX, inbox_of
from gateway.admission import Admission
from gateway.connection import Connection
from gateway.effects import Answer, Claims, Denied, Done, Failed, Joined
from gateway.joins import Joins
from gateway.revocation import Revocations
from gateway.session import State
from gateway.wire.codes import Disconnect


class Listening:
    """Begins such streams; `on_authenticated` is told of each that begins."""

    def __init__(
        self,
        admission: Admission,
        joins: Joins,
        revocations: Revocations,
        on_authenticated: Callable[[Connection], None],
    ) -> None:
        self._admission, self._joins, self._revocations = admission, joins, revocations
        self._on_authenticated = on_authenticated

    def open(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None:
        """Begin a stream that listens to the inbox and some topics."""

        def admitted(answer: Answer) -> None:
            if connection.session.state is State.CLOSED:
                return
            if isinstance(answer, Done):
                self._begin(connection, claims, topics, cursors)
            else:
                denied = isinstance(answer, Denied)
                connection.close(Disconnect.CONNECTION_LIMIT if denied else Disconnect.SERVER_ERROR)

        if (known := self._admission.user(claims.user, admitted)) is not None:
            admitted(known)

    def _begin(
        self, connection: Connection, claims: Claims, topics: Sequence[str], cursors: Mapping[str, Cursor]
    ) -> None:
        if self._revocations.judge(claims.user, claims.stamp) is not None:  # since the token was looked at
            connection.close(Disconnect.INVALID_TOKEN)
            return
        session = connection.session
        session.adopt(claims)
        self._on_authenticated(connection)
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
                    self._joins.leave(topic, connection)
            elif isinstance(answer, Failed):
                connection.close(Disconnect.SERVER_ERROR)
            elif topic[0] != INBOX and connection.session.may_subscribe(topic) is not None:
                self._joins.leave(topic, connection)  # since it was asked for
                connection.close(Disconnect.PERMISSION_DENIED)
            else:
                connection.session.subscribed(topic)
                connection.joined(topic, answer, recover is not None)

        if (answer := self._joins.join(topic, connection, recover, answered)) is not None:
            answered(answer)
