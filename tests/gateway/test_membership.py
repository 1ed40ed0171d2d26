"""Whose a session is and where it listens: its account of itself, and what ends which part of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from gateway.effects import (
    Claims,
    Close,
    Leave,
    Stamp,
    Verified,
)
from gateway.revocation import Kept, Token, User
from gateway.session import Session, State
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from tests.gateway.talk import CLAIMS, CONTEXT, JOINED, NOW, aware, connected, heard, say


def test_its_account_of_itself() -> None:
    session = Session("c1", CONTEXT)
    assert (session.authenticated, session.state) == (False, State.NEW)
    session = connected()
    assert (session.user, session.inbox, session.expires_at) == ("alice", "@alice", NOW + 60)
    assert session.authenticated
    assert orjson.loads(session.info) == {"user": "alice", "client": "c1", "conn_info": {"name": "A"}}
    session.closed()
    assert session.authenticated
    assert session.state is State.CLOSED
    assert list(session.subscriptions) == ["@alice"]


def test_a_session_authenticated_by_its_transport() -> None:
    session = Session("c1", CONTEXT)
    session.adopt(CLAIMS)
    assert (session.state, session.user, session.authenticated) == (State.CONNECTED, "alice", True)
    assert session.may_subscribe("news:sport") is None
    assert session.may_subscribe("team:red") is None
    assert session.may_subscribe("team:blue") is Error.PERMISSION_DENIED
    session.subscribed("@alice")
    session.subscribed("news:sport")
    session.subscribed("live:x")
    assert [session.subscriptions[t].recoverable for t in ("@alice", "news:sport", "live:x")] == [True, True, False]
    assert session.expire(NOW + 84) == []
    assert session.expire(NOW + 85) == (Close(Disconnect.EXPIRED),)


def test_a_session_of_nobody_does_not_expire() -> None:
    assert Session("c1", CONTEXT).expire(NOW) == []


# What is no longer granted ---------------------------------------------------------------------------------------


def gone(effects: Any) -> list[str]:
    return [effect.topic for effect in effects if isinstance(effect, Leave)]


def test_nothing_changes_while_nothing_is_revoked() -> None:
    session, revocations, _ = aware()
    assert list(session.reconsider()) == []
    revocations.take(Kept(User("bob", NOW), 2**50), NOW)
    assert list(session.reconsider()) == []
    assert list(Session("c1", CONTEXT).reconsider()) == []


@pytest.mark.parametrize(("before", "why"), [(NOW - 1, Disconnect.INVALID_TOKEN), (NOW - 9.5, Disconnect.EXPIRED)])
def test_a_revoked_token_ends_the_connection(before: float, why: Disconnect) -> None:
    session, revocations, _ = aware(stamp=Stamp("j1", NOW - 10))
    revocations.take(Kept(User("alice", before), 2**50), NOW)
    assert list(session.reconsider()) == [Close(why)]
    assert list(session.reconsider()) == []


def test_it_rests_on_its_newest_token() -> None:
    session, revocations, _ = aware(stamp=Stamp("j1", NOW))
    say(session, 9, "refresh", token="T2")
    session.answer(Verified(Claims("alice", NOW + 90, ("team:red",), stamp=Stamp("j2", NOW))), NOW)
    revocations.take(Kept(Token("j1"), 2**50), NOW)
    assert list(session.reconsider()) == []
    revocations.take(Kept(Token("j2"), 2**50), NOW)
    assert list(session.reconsider()) == [Close(Disconnect.INVALID_TOKEN)]


def test_a_revoked_subscription_token_ends_its_topic() -> None:
    session, revocations, _ = aware()
    revocations.take(Kept(Token("s1"), 2**50), NOW)
    effects = session.reconsider()
    assert gone(effects) == ["team:blue"]
    assert heard(effects)[1]["push"]["unsubscribe"]["code"] == 2000
    assert set(session.subscriptions) == {"@alice", "news:a", "team:red"}


def test_changed_rules_end_what_they_no_longer_grant() -> None:
    session, _, namespaces = aware()
    namespaces.override({"news": {"subscribe": "token"}})
    assert gone(session.reconsider()) == ["news:a"]
    namespaces.override({"team": {"subscribe": "user"}})
    assert gone(session.reconsider()) == []
    namespaces.override({"team": {"subscribe": "nobody"}})
    assert gone(session.reconsider()) == ["team:red", "team:blue"]
    assert set(session.subscriptions) == {"@alice"}
    namespaces.override({"*": {"subscribe": "nobody"}})
    assert list(session.reconsider()) == []  # whose inbox is its own


def test_unsubscribed_by_the_server() -> None:
    session = connected()
    say(session, 2, "subscribe", channel="news:sport")
    session.answer(JOINED, NOW)
    leave, push = session.unsubscribe("news:sport", Unsubscribed.SERVER)
    assert leave == Leave("news:sport")
    assert heard([push])[0]["push"]["unsubscribe"]["code"] == 2000
    assert session.unsubscribe("news:sport", Unsubscribed.SERVER) == ()
    assert session.unsubscribe("@alice", Unsubscribed.SERVER) == (Close(Disconnect.INSUFFICIENT_STATE),)


# What ran out, and the end ---------------------------------------------------------------------------------------


def test_a_subscription_whose_token_ran_out_ends_alone() -> None:
    session, _, _ = aware()
    assert gone(session.expire(NOW + 30)) == []
    effects = session.expire(NOW + 55)
    assert gone(effects) == ["team:blue"]
    assert heard(effects)[1]["push"]["unsubscribe"]["code"] == 2501
    assert session.expire(NOW + 85) == (Close(Disconnect.EXPIRED),)


def test_after_its_end_nothing_ends() -> None:
    session, revocations, _ = aware(stamp=Stamp("j1", NOW))
    session.closed()
    revocations.take(Kept(Token("j1"), 2**50), NOW)
    assert (session.expire(NOW + 1_000), session.reconsider()) == ((), ())
    assert session.unsubscribe("news:a", Unsubscribed.SERVER) == ()


def test_one_that_ended_while_it_connected_is_nobodys() -> None:
    session = Session("c1", CONTEXT)
    session.feed(b'{"id":1,"connect":{"token":"T"}}', NOW)
    session.answer(Verified(CLAIMS), NOW)
    session.closed()
    assert (session.user, session.authenticated) == ("", False)
