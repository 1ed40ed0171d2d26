"""Order and limits, tried with a session that knows little: `rpc` asks and echoes, the rest is answered at once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.namespaces import Namespaces
from gateway.effects import Answer, Call, Close, Effect, Returned, Send
from gateway.intake import Effects, Intake, SessionContext
from gateway.states import Input, State
from gateway.wire import commands
from gateway.wire.codes import Disconnect, Error

NOW = 1_800_000_000.0


class Echo(Intake):
    """Connected from the start."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(SessionContext(Namespaces({}), node="n1", version="test", **settings))
        self._move(Input.ADOPTED)
        self.undone = 0

    def _serve(self, command: commands.Command, now: float) -> Effects:
        match command:
            case commands.Rpc(_, method, data):
                return self._ask(command, Call(method, data))
            case commands.Unsubscribe(id):
                return self._reply(id, "unsubscribe", {})
            case commands.Refresh():
                self._move(Input.ENDED)
                self.state = State.REFUSED
                return ()
            case commands.SendMessage():
                return ()
            case _:
                return self._refuse(command.id, Error.NOT_AVAILABLE)

    def _proceed(self, pending: commands.Rpc, answer: Answer, now: float) -> Effects:
        return self._reply(pending.id, "rpc", {})

    def _undo(self, pending: commands.Rpc, answer: Answer) -> Effects:
        self.undone += 1
        return ()


def rpc(id: int, data: str = "") -> bytes:
    return orjson.dumps({"id": id, "rpc": {"method": "m", "data": data}})


def leave(id: int) -> bytes:
    return orjson.dumps({"id": id, "unsubscribe": {"channel": "a:b"}})


def bad(id: int) -> bytes:
    return orjson.dumps({"id": id, "x": 1})


def said(effects: Effects) -> list[Any]:
    """Ids of replies, names of questions, ends."""
    return [one(effect) for effect in effects]


def one(effect: Effect) -> Any:
    match effect:
        case Send(payload):
            return orjson.loads(payload).get("id", "ping")
        case Close(disconnect):
            return disconnect
        case _:
            return type(effect).__name__


DONE = Returned(b"")


def test_commands_wait_for_the_one_in_front() -> None:
    echo = Echo()
    assert said(echo.feed(leave(1), NOW)) == [1]
    assert said(echo.feed(rpc(2) + b"\n" + leave(3) + b"\n" + rpc(4), NOW)) == ["Call"]
    assert said(echo.feed(leave(5), NOW)) == []
    assert said(echo.answer(DONE, NOW)) == [2, 3, "Call"]
    assert said(echo.answer(DONE, NOW)) == [4, 5]
    assert said(echo.feed(leave(6), NOW)) == [6]


def test_what_waits_is_bounded_in_bytes() -> None:
    echo = Echo(queue_bytes=100)
    echo.feed(rpc(1), NOW)
    assert said(echo.feed(rpc(2, "x" * 40), NOW)) == []
    assert said(echo.feed(rpc(3, "x" * 40), NOW)) == [Disconnect.TOO_MANY_REQUESTS]
    assert echo.state is State.CLOSED
    assert echo.feed(rpc(4), NOW) == []


def test_room_comes_back_as_the_queue_drains() -> None:
    echo = Echo(queue_bytes=100)
    for id in range(1, 20):
        assert said(echo.feed(rpc(id) + b"\n" + leave(id + 100), NOW)) == ["Call"]
        assert said(echo.answer(DONE, NOW)) == [id, id + 100]


def test_an_answer_to_nothing_is_a_fault_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="no question"):
        Echo().answer(DONE, NOW)


def test_an_answer_after_the_end_is_undone_and_answers_nothing() -> None:
    echo = Echo()
    echo.feed(rpc(1) + b"\n" + leave(2), NOW)
    echo.closed()
    assert echo.answer(DONE, NOW) == ()
    assert echo.undone == 1
    assert echo.answer(DONE, NOW) == ()
    assert echo.undone == 1


def test_a_violation_ends_it_and_voids_what_waits() -> None:
    echo = Echo()
    echo.feed(rpc(1) + b"\n" + leave(2), NOW)
    assert said(echo.feed(b"hello", NOW)) == [Disconnect.BAD_REQUEST]
    assert echo.answer(DONE, NOW) == ()


def test_a_command_the_state_does_not_allow_ends_it_when_it_is_reached() -> None:
    echo = Echo()
    echo.feed(rpc(1) + b'\n{"id":2,"connect":{"token":"T"}}\n' + leave(3), NOW)
    assert said(echo.answer(DONE, NOW)) == [1, Disconnect.BAD_REQUEST]


def test_the_rest_of_a_message_is_void_once_refused() -> None:
    echo = Echo()
    assert echo.feed(b'{"id":1,"refresh":{"token":"T"}}\n' + leave(2), NOW) == []
    assert said(echo.feed(leave(3), NOW)) == [Disconnect.BAD_REQUEST]


# Pings -----------------------------------------------------------------------------------------------------------


def test_one_pong_to_one_ping() -> None:
    echo = Echo()
    assert said(echo.ping(NOW)) == ["ping"]
    assert echo.feed(b"{}", NOW) == ()
    assert echo.overdue_pong(NOW) == ()
    assert said(echo.feed(b"{}", NOW)) == [Disconnect.BAD_REQUEST]
    assert echo.feed(b"{}", NOW) == ()


def test_a_pong_does_not_wait() -> None:
    echo = Echo()
    echo.ping(NOW)
    echo.feed(rpc(1), NOW)
    assert echo.feed(b'{"id":0}\n' + leave(2), NOW) == []
    assert echo.overdue_pong(NOW) == ()


def test_no_pong() -> None:
    echo = Echo()
    echo.ping(NOW)
    assert said(echo.overdue_pong(NOW)) == [Disconnect.NO_PONG]
    assert echo.overdue_pong(NOW) == ()
    assert echo.ping(NOW) == ()


# Limits ----------------------------------------------------------------------------------------------------------


def test_rate() -> None:
    echo = Echo(messages_per_second=10, subscriptions=5)
    burst = b"\n".join(leave(id) for id in range(1, 26))
    assert len(echo.feed(burst, NOW)) == 25
    assert said(echo.feed(leave(26), NOW + 0.1)) == [26]
    assert said(echo.feed(leave(27), NOW + 0.1)) == [Disconnect.TOO_MANY_REQUESTS]


def test_a_steady_rate_goes_on_for_ever() -> None:
    echo = Echo(messages_per_second=10, subscriptions=0)
    for second in range(100):
        burst = b"\n".join(leave(id) for id in range(1, 11))
        assert len(echo.feed(burst, NOW + second)) == 10


def test_a_clock_set_back_is_not_held_against_the_client() -> None:
    echo = Echo(messages_per_second=10, subscriptions=0)
    echo.feed(leave(1), NOW)
    assert said(echo.feed(leave(2), NOW - 3_600)) == [2]


def test_no_limit() -> None:
    echo = Echo(messages_per_second=0)
    assert len(echo.feed(b"\n".join(leave(id) for id in range(1, 1_000)), NOW)) == 999


def test_errors_are_counted_between_pings() -> None:
    echo = Echo(errors=2)
    assert said(echo.feed(bad(1) + b"\n" + bad(2), NOW)) == [1, 2]
    echo.ping(NOW)
    assert said(echo.feed(bad(3) + b"\n" + bad(4) + b"\n" + bad(5), NOW)) == [3, 4, Disconnect.TOO_MANY_ERRORS]


# In general ------------------------------------------------------------------------------------------------------

MESSAGES = st.lists(st.sampled_from([rpc, leave, bad]), min_size=1, max_size=4)


@given(st.lists(MESSAGES | st.just(None), max_size=40))
def test_replies_come_in_the_order_of_their_commands(story: list[list[Any] | None]) -> None:
    echo, sent, heard, open_questions = Echo(errors=1_000), 0, [], 0
    for happening in story:
        if happening is None:
            if not open_questions:
                continue
            open_questions -= 1
            effects = echo.answer(DONE, NOW)
        else:
            message = b"\n".join(make(sent + i) for i, make in enumerate(happening, 1))
            sent += len(happening)
            effects = echo.feed(message, NOW)
        open_questions += sum(isinstance(effect, Call) for effect in effects)
        assert open_questions <= 1
        heard += [one(effect) for effect in effects if isinstance(effect, Send)]
    if echo.state is State.CONNECTED:
        while open_questions:
            effects = echo.answer(DONE, NOW)
            open_questions += sum(isinstance(effect, Call) for effect in effects) - 1
            heard += [one(effect) for effect in effects if isinstance(effect, Send)]
        assert heard == list(range(1, sent + 1))
