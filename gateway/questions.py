"""Who answers which of a session's questions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from gateway.admission import Admission
from gateway.attendance import Attendance
from gateway.calls import Calls
from gateway.connection import Connection
from gateway.effects import Admit, Answer, Call, Join, OnAnswer, Publish, Question, ReadHistory, ReadPresence, Verify
from gateway.history import History
from gateway.presence import Presence
from gateway.publishing import Publishing
from gateway.verifier import Verifier


@dataclass(frozen=True, slots=True)
class Questions:
    """Those who know."""

    verifier: Verifier
    admission: Admission
    attendance: Attendance
    publishing: Publishing
    history: History
    presence: Presence
    calls: Calls

    def ask(self, connection: Connection, question: Question, later: OnAnswer) -> Answer | None:
        """The answer where it is known at once; else None, and `later` is called with it, perhaps before this
        returns."""
        match question:
            case Verify(token, topic):
                return self.verifier.verify(token, topic, later)
            case Admit(user):
                return self.admission.user(user, later)
            case Join(topic, recover):
                return self.attendance.join(connection, topic, recover, later)
            case Publish(topic, data, info):
                self.publishing.publish(topic, data, info, later)
            case ReadHistory(topic, limit, since, reverse):
                self.history.read(topic, limit, since, reverse, later)
            case ReadPresence(topic):
                self.presence.who(topic, later)
            case Call(method, data):
                self.calls.call(connection, method, data, later)
            case _:
                assert_never(question)
        return None
