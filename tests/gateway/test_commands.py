"""Commands: what is of the form is understood, everything else is `Malformed`, and nothing raises."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.cursor import Cursor
from gateway.wire.commands import (
    PONG,
    Command,
    Connect,
    History,
    Malformed,
    Pong,
    Presence,
    PresenceStats,
    Publish,
    Refresh,
    Rpc,
    SendMessage,
    SubRefresh,
    Subscribe,
    Unknown,
    Unsubscribe,
    lines,
    parse,
)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ('{"id":1,"connect":{}}', Connect(1, "", None)),
        ('{"connect":{"token":"T","name":"js","version":"5","data":{"a":1}},"id":1}', Connect(1, "T", None)),
        (
            '{"id":1,"connect":{"subs":{"inbox":{"recover":true,"epoch":"e","offset":3}}}}',
            Connect(1, "", Cursor("e", 3)),
        ),
        ('{"id":1,"connect":{"subs":{"inbox":{"epoch":"e","offset":3}}}}', Connect(1, "", None)),
        ('{"id":1,"connect":{"subs":{"other":{"recover":true}}}}', Connect(1, "", None)),
        ('{"id":1,"connect":{"subs":null,"token":null}}', Connect(1, "", None)),
        ('{"id":2,"subscribe":{"channel":"a:b"}}', Subscribe(2, "a:b", "", None, False)),
        (
            '{"id":2,"subscribe":{"channel":"a:b","token":"T","recover":true,"offset":1,"epoch":"e","flag":3}}',
            Subscribe(2, "a:b", "T", Cursor("e", 1), True),
        ),
        ('{"id":2,"subscribe":{"channel":"a:b","flag":1,"positioned":true}}', Subscribe(2, "a:b", "", None, False)),
        ('{"id":3,"unsubscribe":{"channel":"a:b"}}', Unsubscribe(3, "a:b")),
        ('{"id":4,"publish":{"channel":"a:b","data":{"x": [1, 2.5, null]}}}', Publish(4, "a:b", b'{"x":[1,2.5,null]}')),
        ('{"id":4,"publish":{"channel":"a:b","data":null}}', Publish(4, "a:b", b"null")),
        ('{"id":4,"publish":{"channel":"a:b"}}', Publish(4, "a:b", b"")),
        ('{"id":5,"presence":{"channel":"a:b"}}', Presence(5, "a:b")),
        ('{"id":6,"presence_stats":{"channel":"a:b"}}', PresenceStats(6, "a:b")),
        ('{"id":7,"history":{"channel":"a:b"}}', History(7, "a:b", 0, None, False)),
        (
            '{"id":7,"history":{"channel":"a:b","limit":-1,"since":{"offset":9,"epoch":"e"},"reverse":true}}',
            History(7, "a:b", -1, Cursor("e", 9), True),
        ),
        ('{"id":8,"rpc":{"method":"m","data":{"a":1}}}', Rpc(8, "m", b'{"a":1}')),
        ('{"id":8,"rpc":{}}', Rpc(8, "", b"")),
        ('{"send":{"data":1}}', SendMessage(b"1")),
        ('{"id":9,"refresh":{"token":"T"}}', Refresh(9, "T")),
        ('{"id":9,"sub_refresh":{"channel":"a:b","token":"T"}}', SubRefresh(9, "a:b", "T")),
        ('{"id":4294967295,"ping":{}}', Unknown(4294967295, "ping")),
        ('{"id":1,"__proto__":{}}', Unknown(1, "__proto__")),
        ('{"id":1,"rpc":{},"x":1}', Rpc(1, "", b"")),
    ],
)
def test_a_command(line: str, command: Command) -> None:
    assert parse(line.encode()) == command


@pytest.mark.parametrize("line", [b"{}", b" {} ", b'{"id":0}', b'{"id":null}'])
def test_a_pong_is_a_command_without_id_and_method(line: bytes) -> None:
    assert isinstance(parse(line), Pong)


def test_the_common_pong_is_not_even_parsed() -> None:
    assert parse(b"{}") is PONG


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"[]",
        b"1",
        b"null",
        b'"\\ud800"',
        b'{"id":1,"rpc":{"data":"\\udfff"}}',
        b'{"id":1,"rpc":{"data":"\xff"}}',
        b'{"id":1,"rpc":{"data":NaN}}',
        b'{"id":1,"rpc":{"data":1e400}}',
        b'{"id":1,"rpc":{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
        b'{"id":1,"rpc":{"data":' + b"[" * 100 + b"]" * 100 + b"}}",
        b'{"id":1}',
        b'{"id":0,"ping":{}}',
        b'{"ping":{}}',
        b'{"id":0,"rpc":{}}',
        b'{"rpc":{}}',
        b'{"id":-1,"rpc":{}}',
        b'{"id":4294967296,"rpc":{}}',
        b'{"id":123456789012345678901234567890,"rpc":{}}',
        b'{"id":1.0,"rpc":{}}',
        b'{"id":"1","rpc":{}}',
        b'{"id":true,"rpc":{}}',
        b'{"id":1,"rpc":null}',
        b'{"id":1,"rpc":[]}',
        b'{"id":1,"rpc":{},"send":{}}',
        b'{"id":1,"rpc":{"method":1}}',
        b'{"id":1,"connect":{"token":1}}',
        b'{"id":1,"connect":{"subs":[]}}',
        b'{"id":1,"connect":{"subs":{"inbox":1}}}',
        b'{"id":1,"connect":{"subs":{"inbox":{"recover":1}}}}',
        b'{"id":1,"connect":{"subs":{"inbox":{"recover":true,"offset":"1"}}}}',
        b'{"id":1,"subscribe":{}}',
        b'{"id":1,"subscribe":{"channel":""}}',
        b'{"id":1,"subscribe":{"channel":1}}',
        b'{"id":1,"subscribe":{"channel":"a:b","flag":-1}}',
        b'{"id":1,"subscribe":{"channel":"a:b","recover":true,"offset":-1}}',
        b'{"id":1,"subscribe":{"channel":"a:b","recover":true,"offset":1.5}}',
        b'{"id":1,"subscribe":{"channel":"a:b","recover":true,"offset":9007199254740992}}',
        b'{"id":1,"subscribe":{"channel":"a:b","recover":true,"epoch":7}}',
        b'{"id":1,"history":{"channel":"a:b","limit":2147483648}}',
        b'{"id":1,"history":{"channel":"a:b","since":1}}',
        b'{"id":1,"refresh":{}}',
    ],
)
def test_anything_else_is_malformed(line: bytes) -> None:
    answer = parse(line)
    assert isinstance(answer, Malformed)
    assert answer.why


def test_of_a_key_given_twice_the_last_counts() -> None:
    assert parse(b'{"id":1,"id":2,"rpc":{"method":"a","method":"b"}}') == Rpc(2, "b", b"")


def test_many_brackets_are_no_depth() -> None:
    data = b"[" + b",".join([b"[]"] * 100) + b"]"
    assert parse(b'{"id":1,"rpc":{"data":' + data + b"}}") == Rpc(1, "", data)


@pytest.mark.parametrize(
    ("message", "found"),
    [(b"a", [b"a"]), (b"a\nb", [b"a", b"b"]), (b"a\n", [b"a"]), (b"a\n\nb", [b"a", b"", b"b"]), (b"", [b""])],
)
def test_lines(message: bytes, found: list[bytes]) -> None:
    assert lines(message) == found


@given(st.binary(max_size=200))
def test_no_bytes_raise(line: bytes) -> None:
    parse(line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
METHODS = st.sampled_from(["connect", "subscribe", "history", "rpc", "send", "refresh", "sub_refresh", "publish", "x"])
FIELDS = st.sampled_from(["channel", "token", "recover", "offset", "epoch", "flag", "limit", "since", "data", "subs"])


@given(st.integers(-1, 2**33) | JSON, METHODS, st.dictionaries(FIELDS, JSON) | JSON)
def test_no_values_raise(id: Any, method: str, request: Any) -> None:
    try:
        line = orjson.dumps({"id": id, method: request})
    except TypeError:
        return  # an integer or a surrogate that JSON cannot carry
    parse(line)
