"""The session beyond what the transcripts show: its own account of itself, the plain event stream, and what may not
happen whatever a client says."""

from __future__ import annotations

import tracemalloc
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bus.cursor import Cursor
from gateway.effects import (
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
    Page,
    Present,
    Publish,
    ReadHistory,
    ReadPresence,
    Receive,
    Returned,
    Send,
    Stamp,
    Verified,
    Verify,
)
from gateway.revocation import Kept, Token
from gateway.session import Session, SessionContext, State
from gateway.wire.codes import Disconnect, Error, Unsubscribed
from gateway.wire.replies import PING
from tests.gateway.talk import CLAIMS, CONTEXT, JOINED, NAMESPACES, NOW, aware, code, connected, heard, say
from tests.transcripts.replay import Replay, cases


def test_the_transcripts() -> None:
    """One by one, and with better names, they are in test_transcripts.py."""
    for _, case in cases():
        Replay(case).run()


# What is joined and what is said of it ---------------------------------------------------------------------------


def test_what_is_being_joined_is_judged_by_what_holds_then() -> None:
    session, revocations, namespaces = aware()
    say(session, 5, "subscribe", channel="news:b")
    namespaces.override({"news": {"subscribe": "nobody"}})
    left, refused = session.answer(JOINED, NOW)
    assert (left, code([refused])) == (Leave("news:b"), 103)
    say(session, 6, "subscribe", channel="team:pink", token="S")
    session.answer(Verified(Claims("alice", NOW + 30, topic="team:pink", stamp=Stamp("s2", NOW))), NOW)
    revocations.take(Kept(Token("s2"), 2**50), NOW)
    left, refused = session.answer(JOINED, NOW)
    assert (left, code([refused])) == (Leave("team:pink"), 103)


@pytest.mark.parametrize("answers", [(), (Verified(CLAIMS),), (Verified(CLAIMS), Done())])
def test_one_that_never_connected_was_never_authenticated(answers: tuple[Answer, ...]) -> None:
    session = Session("c1", CONTEXT)
    session.feed(b'{"id":1,"connect":{"token":"T"}}', NOW)
    for answer in answers:
        session.answer(answer, NOW)
        assert not session.authenticated
    session.closed()
    assert not session.authenticated
    assert session.user == ""


def test_a_refused_one_is_nobodys() -> None:
    session = Session("c1", CONTEXT)
    session.feed(b'{"id":1,"connect":{"token":"T"}}', NOW)
    session.answer(Verified(CLAIMS), NOW)
    assert code(session.answer(Failed(Error.TOO_MANY_REQUESTS), NOW)) == 111
    assert (session.user, session.authenticated, session.state) == ("", False, State.REFUSED)
    assert session.expire(NOW + 1_000) == []


@pytest.mark.parametrize(("interval", "told"), [(25.0, 25), (0.2, 1), (1.4, 1)])
def test_the_interval_of_pings_is_told_in_whole_seconds(interval: float, told: int) -> None:
    session = Session("c1", SessionContext(NAMESPACES, "n1", "test", ping_interval=interval))
    session.feed(b'{"id":1,"connect":{"token":"T"}}', NOW)
    session.answer(Verified(CLAIMS), NOW)
    session.answer(Done(), NOW)
    (reply,) = heard(session.answer(JOINED, NOW))
    assert reply["connect"]["ping"] == told


@pytest.mark.parametrize(("left", "ttl"), [(60.9, 60), (0.5, 1), (-5, 1), (1e11, 2**31 - 1)])
def test_a_lifetime_is_a_number_that_clients_can_wait_for(left: float, ttl: int) -> None:
    session = connected()
    assert say(session, 2, "refresh", token="T2") == [Verify("T2", None)]
    (reply,) = heard(session.answer(Verified(Claims("alice", NOW + left)), NOW))
    assert reply["refresh"]["ttl"] == ttl


# The end ---------------------------------------------------------------------------------------------------------


def test_a_join_that_comes_too_late_is_undone() -> None:
    session = connected()
    assert say(session, 2, "subscribe", channel="news:sport") == [Join("news:sport", None)]
    session.closed()
    assert session.answer(JOINED, NOW) == (Leave("news:sport"),)
    session = connected()
    say(session, 2, "subscribe", channel="news:sport")
    session.closed()
    assert session.answer(Failed(Error.INTERNAL), NOW) == ()
    session = connected()
    say(session, 2, "rpc", method="m")
    session.closed()
    assert session.answer(Returned(b""), NOW) == ()


def test_nothing_happens_after_the_end() -> None:
    session = connected()
    session.closed()
    assert session.feed(b'{"id":2,"rpc":{}}', NOW) == []
    assert session.expire(NOW + 1_000) == ()
    assert session.ping(NOW) == ()
    assert session.unsubscribe("@alice", Unsubscribed.SERVER) == ()


def test_an_answer_of_the_wrong_kind_is_a_fault_of_the_caller() -> None:
    session = connected()
    say(session, 2, "rpc", method="m")
    with pytest.raises(KeyError):
        session.answer(JOINED, NOW)


def test_a_disconnect_may_answer_any_question() -> None:
    session = connected()
    say(session, 2, "rpc", method="m")
    assert session.answer(Denied(Disconnect.FORCE_NO_RECONNECT), NOW) == (Close(Disconnect.FORCE_NO_RECONNECT),)


# Subscriptions ---------------------------------------------------------------------------------------------------


def test_subscriptions_that_are_alike_are_one_value() -> None:
    one, other = connected(), connected()
    for session in (one, other):
        say(session, 2, "subscribe", channel="news:sport")
        session.answer(JOINED, NOW)
    assert one.subscriptions["news:sport"] is other.subscriptions["news:sport"]
    assert next(reversed(one.subscriptions)) is next(reversed(other.subscriptions))


def test_a_subscription_that_the_server_ends_while_its_token_is_renewed() -> None:
    session = connected()
    say(session, 2, "subscribe", channel="team:blue", token="S1")
    session.answer(Verified(Claims("alice", NOW + 30, topic="team:blue")), NOW)
    session.answer(JOINED, NOW)
    assert say(session, 3, "sub_refresh", channel="team:blue", token="S2") == [Verify("S2", "team:blue")]
    session.unsubscribe("team:blue", Unsubscribed.SERVER)
    assert code(session.answer(Verified(Claims("alice", NOW + 90, topic="team:blue")), NOW)) == 103
    assert "team:blue" not in session.subscriptions


def test_what_cannot_be_recovered_is_refused_to_the_strict() -> None:
    session = connected()
    (join,) = say(session, 2, "subscribe", channel="live:x", recover=True, offset=1, epoch="e", flag=2)
    assert join == Join("live:x", None)
    leave, reply = session.answer(JOINED, NOW)
    assert (leave, code([reply])) == (Leave("live:x"), 112)
    (join,) = say(session, 3, "subscribe", channel="news:x", recover=True, offset=1, epoch="e", flag=2)
    assert join == Join("news:x", Cursor("e", 1))
    (reply,) = heard(session.answer(Joined("e", 1, True, ()), NOW))
    assert reply["subscribe"]["recovered"] is True


def test_a_token_may_be_worn_out_by_errors_too() -> None:
    session = connected(SessionContext(NAMESPACES, "n1", "test", errors=0))
    say(session, 2, "subscribe", channel="team:blue", token="S1")
    assert session.answer(Denied(Error.TOKEN_EXPIRED), NOW) == (Close(Disconnect.TOO_MANY_ERRORS),)


# Whatever a client says ------------------------------------------------------------------------------------------

CHANNELS = st.sampled_from(
    ["inbox", "news:a", "news:b", "room:1", "team:red", "team:blue", "off:x", "@bob", "x", "a:*"]
)
TOKENS = st.sampled_from(["", "T"])
REQUESTS = st.one_of(
    st.builds(lambda t: {"connect": {"token": t}}, TOKENS),
    st.builds(
        lambda c, t, r, f: {"subscribe": {"channel": c, "token": t, "recover": r, "flag": f}},
        CHANNELS,
        TOKENS,
        st.booleans(),
        st.integers(0, 3),
    ),
    st.builds(lambda c: {"unsubscribe": {"channel": c}}, CHANNELS),
    st.builds(lambda c: {"publish": {"channel": c, "data": 1}}, CHANNELS),
    st.builds(lambda m, c: {m: {"channel": c}}, st.sampled_from(["presence", "presence_stats"]), CHANNELS),
    st.builds(
        lambda c, n: {"history": {"channel": c, "limit": n, "since": {"epoch": "old"}}}, CHANNELS, st.integers(-1, 9)
    ),
    st.just({"rpc": {"method": "m"}}),
    st.just({"send": {"data": 1}}),
    st.just({"refresh": {"token": "T"}}),
    st.builds(lambda c, t: {"sub_refresh": {"channel": c, "token": t}}, CHANNELS, TOKENS),
    st.just({"ping": {}}),
)
HAPPENINGS = st.one_of(
    st.lists(REQUESTS, min_size=1, max_size=3),
    st.sampled_from(
        ["answer", "answer", "answer", "deny", "fail", "ping", "overdue", "expire", "kick", "pong", "junk"]
    ),
)


def good_answer(question: Effect) -> Answer:
    match question:
        case Verify(_, topic):
            return Verified(Claims("alice", NOW + 60, ("team:red",), topic=topic))
        case Join(_, recover):
            return JOINED if recover is None else Joined("e1", recover.offset + 1, True, ((recover.offset + 1, b""),))
        case ReadHistory():
            return Page("e1", 1, ((1, b'"data":1'),))
        case ReadPresence():
            return Present((("c1", b'{"user":"alice","client":"c1"}'),))
        case Call():
            return Returned(b"1")
        case Admit() | Publish():
            return Done()
    raise AssertionError(question)


class Story:
    """One session, watched: what it may never do is asserted at every step."""

    def __init__(self) -> None:
        self.session = Session("c1", SessionContext(NAMESPACES, "n1", "test", subscriptions=3, errors=50))
        self.question: Effect | None = None
        self.ids = 0
        self.answered: list[int] = []
        self.members: set[str] = set()

    def happen(self, what: Any) -> None:
        match what:
            case list():
                self.watch(self.session.feed(b"\n".join(map(self.line, what)), NOW))
            case "pong" | "junk":
                self.watch(self.session.feed(PING if what == "pong" else b"junk", NOW))
            case "answer" | "deny" | "fail":
                self.reply(what)
            case "ping":
                self.watch(self.session.ping(NOW))
            case "overdue":
                self.watch(self.session.overdue_pong(NOW))
            case "expire":
                self.watch(self.session.expire(NOW + 50))
            case "kick":
                self.watch(self.session.unsubscribe("news:a", Unsubscribed.INSUFFICIENT_STATE))

    def line(self, request: Any) -> bytes:
        if "send" in request:
            return orjson.dumps(request)
        self.ids += 1
        return orjson.dumps({"id": self.ids, **request})

    def reply(self, what: str) -> None:
        question, self.question = self.question, None
        if question is None:
            return
        if isinstance(question, Join) and what == "answer":
            self.members.add(question.topic)
        verdict: Answer = good_answer(question)
        if what == "deny" and isinstance(question, Verify):
            verdict = Denied(Error.TOKEN_EXPIRED)
        elif what != "answer":
            verdict = Failed(Error.INTERNAL)
        if isinstance(question, Join) and not isinstance(verdict, Joined):
            self.members.discard(question.topic)
        self.watch(self.session.answer(verdict, NOW))

    def watch(self, effects: Any) -> None:
        for position, effect in enumerate(effects):
            match effect:
                case Send(payload):
                    if (id := orjson.loads(payload).get("id")) is not None:
                        self.answered.append(id)
                case Close():
                    assert position == len(effects) - 1
                    assert self.session.state is State.CLOSED
                case Leave(topic):
                    self.members.discard(topic)
                case Receive():
                    pass
                case question:
                    assert self.question is None, "one question at a time"
                    assert position == len(effects) - 1
                    self.question = question
        assert self.answered == sorted(set(self.answered)), "in order, each once"
        assert len(self.session.subscriptions) <= 4
        if self.session.state is State.CONNECTED and not isinstance(self.question, Join):
            assert self.members == set(self.session.subscriptions)


@settings(max_examples=300)
@given(st.booleans(), st.lists(HAPPENINGS, max_size=40))
def test_whatever_a_client_says(begin: bool, happenings: list[Any]) -> None:
    story = Story()
    if begin:
        for what in ([{"connect": {"token": "T"}}], "answer", "answer", "answer"):
            story.happen(what)
    for what in happenings:
        story.happen(what)
    story.session.closed()
    story.reply("answer")
    assert story.members <= set(story.session.subscriptions)


def test_a_session_is_small() -> None:
    """With its inbox and one topic, beside the strings that are its ids."""
    count = 500
    ids = [(f"client{i:06d}", f"user{i:06d}") for i in range(count)]
    answers = [(Verified(Claims(user, NOW + 60 + i)), Done(), JOINED) for i, (_, user) in enumerate(ids)]
    message = b'{"id":1,"connect":{"token":"T"}}\n{"id":2,"subscribe":{"channel":"news:sport"}}'

    def build(i: int) -> Session:
        session = Session(ids[i][0], CONTEXT)
        session.feed(message, NOW + i)
        for answer in (*answers[i], JOINED):
            session.answer(answer, NOW)
        return session

    build(0)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sessions = [build(i) for i in range(count)]
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert all("news:sport" in session.subscriptions for session in sessions)
    assert used / count < 600
