"""Sessions that have begun, and how to talk with one."""

from __future__ import annotations

from typing import Any

import orjson

from bus.namespaces import Namespaces
from gateway.effects import (
    Claims,
    Done,
    Effect,
    Joined,
    Send,
    Stamp,
    Verified,
)
from gateway.revocation import Revocations
from gateway.session import Session, SessionContext

NOW = 1_800_000_000.0
NAMESPACES = Namespaces(
    {
        "news": {"subscribe": "user"},
        "room": {"subscribe": "user", "publish": "subscriber", "presence": "subscriber"},
        "live": {"subscribe": "user", "history_size": 0},
        "off": {"subscribe": "nobody"},
    }
)
CONTEXT = SessionContext(NAMESPACES, node="n1", version="test")
CLAIMS = Claims("alice", NOW + 60, ("team:red",), b'{"name":"A"}')
JOINED = Joined("e1", 0, False, ())


def connected(context: SessionContext = CONTEXT, claims: Claims = CLAIMS) -> Session:
    session = Session("c1", context)
    session.feed(b'{"id":1,"connect":{"token":"T"}}', NOW)
    for answer in (Verified(claims), Done(), JOINED):
        session.answer(answer, NOW)
    return session


def say(session: Session, id: int, command: str, **request: Any) -> list[Effect]:
    return list(session.feed(orjson.dumps({"id": id, command: request}), NOW))


def heard(effects: Any) -> list[Any]:
    return [orjson.loads(effect.payload) if isinstance(effect, Send) else effect for effect in effects]


def code(effects: Any) -> int | None:
    """The code of the one error reply."""
    (only,) = heard(effects)
    return only["error"]["code"] if isinstance(only, dict) and "error" in only else None


def aware(**claims: Any) -> tuple[Session, Revocations, Namespaces]:
    """A connected session, and what may change beneath it. It is in two topics of its token and one of its own."""
    revocations, namespaces = Revocations(), Namespaces({"news": {"subscribe": "user"}})
    context = SessionContext(namespaces, "n1", "test", revocations=revocations)
    session = connected(context, Claims("alice", NOW + 60, ("team:red",), **claims))
    for id, topic in ((2, "news:a"), (3, "team:red")):
        say(session, id, "subscribe", channel=topic)
        session.answer(JOINED, NOW)
    say(session, 4, "subscribe", channel="team:blue", token="S")
    session.answer(Verified(Claims("alice", NOW + 30, topic="team:blue", stamp=Stamp("s1", NOW))), NOW)
    session.answer(JOINED, NOW)
    return session, revocations, namespaces
