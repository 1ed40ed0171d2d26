"""Rights: every rule of a namespace for every kind of user."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bus.namespaces import WHO, Namespaces
from bus.settings import BadSetting
from gateway.rights import (
    Standing,
    history_error,
    name_error,
    presence_error,
    publish_error,
    subscribe_error,
    token_error,
)
from gateway.wire.codes import Error

STRANGER = Standing("@alice", (), ())
SUBSCRIBER = Standing("@alice", (), {"a:b"})
GRANTED = Standing("@alice", ("a:b",), ())
Check = Callable[[Namespaces, Standing, str], Error | None]
NO = Error.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("topic", "error"),
    [
        ("a:b", None),
        ("@alice", NO),
        ("@bob", NO),
        ("@" + "x" * 300, Error.BAD_REQUEST),
        ("a:" + "x" * 254, Error.BAD_REQUEST),
        ("a", Error.UNKNOWN_CHANNEL),
        ("a:", Error.UNKNOWN_CHANNEL),
        (":b", Error.UNKNOWN_CHANNEL),
        ("a:*", Error.UNKNOWN_CHANNEL),
        ("a:{b}", Error.UNKNOWN_CHANNEL),
        ("a:\x00", Error.UNKNOWN_CHANNEL),
        ("$a:b", Error.UNKNOWN_CHANNEL),
    ],
)
def test_names(topic: str, error: Error | None) -> None:
    assert name_error(topic) is error


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("standing", [STRANGER, SUBSCRIBER, GRANTED])
@pytest.mark.parametrize(
    ("rule", "check", "shut"),
    [
        ("subscribe", subscribe_error, NO),
        ("publish", publish_error, NO),
        ("presence", presence_error, Error.NOT_AVAILABLE),
        ("history", history_error, Error.NOT_AVAILABLE),
    ],
)
def test_rules(who: str, standing: Standing, rule: str, check: Check, shut: Error) -> None:
    if (rule, who) == ("subscribe", "subscriber"):
        with pytest.raises(BadSetting):
            Namespaces({"a": {rule: who}})
        return
    namespaces = Namespaces({"a": {rule: who}})
    expected: dict[str, Error | None] = {
        "nobody": shut,
        "subscriber": None if standing is SUBSCRIBER else NO,
        "user": None,
        "token": None if standing is GRANTED else NO,
    }
    assert check(namespaces, standing, "a:b") is expected[who]
    assert check(namespaces, standing, "a") is Error.UNKNOWN_CHANNEL
    assert check(namespaces, standing, "@bob") is NO


def test_a_token_for_the_topic_opens_all_but_what_nobody_may() -> None:
    assert token_error(Namespaces({}), "a:b") is None
    assert token_error(Namespaces({"a": {"subscribe": "nobody"}}), "a:b") is NO
    assert token_error(Namespaces({}), "a") is Error.UNKNOWN_CHANNEL


def test_ones_own_inbox() -> None:
    namespaces = Namespaces({})
    assert history_error(namespaces, STRANGER, "@alice") is None
    assert publish_error(namespaces, STRANGER, "@alice") is NO
    assert presence_error(namespaces, STRANGER, "@alice") is Error.NOT_AVAILABLE


def test_no_history_where_none_is_kept() -> None:
    namespaces = Namespaces({"a": {"history": "user", "history_size": 0}})
    assert history_error(namespaces, STRANGER, "a:b") is Error.NOT_AVAILABLE
