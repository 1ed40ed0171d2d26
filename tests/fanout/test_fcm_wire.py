"""The request and the answer of FCM: every code that Google documents, and answers that are none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.fcm_wire import MAX_TTL, request, verdict, wants_new_token

NOW = 1_800_000_000.0
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def body(code: str | None = None, *fields: str) -> bytes:
    details: list[dict[str, Any]] = [{"@type": "type.googleapis.com/google.rpc.Help", "links": []}]
    if fields:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field} for field in fields]})
    if code:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    return orjson.dumps({"error": {"code": 400, "status": "ANY", "message": "UNREGISTERED", "details": details}})


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (200, None, Done),
        (404, "UNREGISTERED", Gone),
        (403, "SENDER_ID_MISMATCH", Gone),
        (400, "INVALID_ARGUMENT", Gone),
        (401, "THIRD_PARTY_AUTH_ERROR", Misconfigured),
        (429, "QUOTA_EXCEEDED", Throttled),
        (503, "UNAVAILABLE", Retry),
        (500, "INTERNAL", Retry),
        (400, "UNSPECIFIED_ERROR", Rejected),
        (500, "UNSPECIFIED_ERROR", Retry),
        (400, None, Rejected),
        (401, None, Misconfigured),
        (403, None, Misconfigured),
        (404, None, Misconfigured),
        (408, None, Retry),
        (413, None, Rejected),
        (429, None, Throttled),
        (500, None, Retry),
        (502, None, Retry),
        (503, None, Retry),
        (302, None, Rejected),
    ],
)
def test_what_each_code_means(status: int, code: str | None, kind: type[Outcome]) -> None:
    assert isinstance(verdict(status, {}, body(code), NOW), kind)


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (("message.token",), Gone),
        (("message.data[0].value",), Rejected),
        (("message.token", "message.android.ttl"), Rejected),
    ],
)
def test_an_invalid_argument_is_the_tokens_only_where_nothing_else_is_wrong(
    fields: tuple[str, ...], kind: type[Outcome]
) -> None:
    assert isinstance(verdict(400, {}, body("INVALID_ARGUMENT", *fields), NOW), kind)


@pytest.mark.parametrize("fields", [("message.token",), ("message.android.ttl",)])
def test_a_bare_bad_request_never_drops_a_token(fields: tuple[str, ...]) -> None:
    assert isinstance(verdict(400, {}, body(None, *fields), NOW), Rejected)


@given(st.integers(300, 599), st.one_of(st.binary(), st.sampled_from([b"[]", b"{}", b'{"error":7}', b'{"error":{}}'])))
def test_without_a_code_no_token_is_dropped(status: int, garbage: bytes) -> None:
    assert not isinstance(verdict(status, {}, garbage, NOW), Gone | Done)


@pytest.mark.parametrize(
    "details",
    [
        None,
        "UNREGISTERED",
        ["UNREGISTERED"],
        [{"errorCode": "UNREGISTERED"}],
        [{"@type": BAD_REQUEST, "fieldViolations": "message.token"}],
        [{"@type": BAD_REQUEST, "fieldViolations": ["message.token"]}],
    ],
)
def test_details_that_are_none(details: Any) -> None:
    found = verdict(400, {}, orjson.dumps({"error": {"details": details}}), NOW)
    assert isinstance(found, Rejected)


def test_the_time_that_google_asks_for_is_kept() -> None:
    assert verdict(429, {"retry-after": "7"}, b"", NOW) == Throttled(7.0, Scope.CHANNEL)
    assert verdict(429, {}, b"", NOW) == Throttled(60.0, Scope.CHANNEL)
    assert verdict(429, {"retry-after": "7"}, body("QUOTA_EXCEEDED"), NOW) == Throttled(7.0, Scope.CHANNEL)
    assert verdict(503, {"retry-after": "90"}, body("UNAVAILABLE"), NOW) == Retry("FCM says UNAVAILABLE", 90.0)
    assert verdict(503, {}, body("UNAVAILABLE"), NOW) == Retry("FCM says UNAVAILABLE", None)
    assert verdict(500, {}, body("INTERNAL"), NOW) == Retry("FCM says INTERNAL", 10.0)
    assert verdict(500, {"retry-after": "90"}, b"", NOW) == Retry("FCM has trouble (500)", 90.0)


def test_which_401_asks_for_a_new_token() -> None:
    assert wants_new_token(401, body())
    assert not wants_new_token(401, body("THIRD_PARTY_AUTH_ERROR"))
    assert not wants_new_token(403, body())


def built(message: Push, expires_at: float | None = None, **event: Any) -> dict[str, Any]:
    about = Event(**{"id": "e1", "source": "shop", "type": "note", "created_at": 1.0, **event})
    made = Delivery("0" * 32, "push", "alice", PushTarget("d1", "fcm", "t"), message, about, expires_at)
    return dict(orjson.loads(request(made, "t", message, NOW))["message"])


def test_a_request() -> None:
    assert built(Push("Hello", "World", data={"n": 1}), NOW + 5, collapse_key="k") == {
        "token": "t",
        "notification": {"title": "Hello", "body": "World"},
        "data": {"id": "e1", "tag": "k", "data": '{"n":1}'},
        "android": {"collapse_key": "k", "priority": "normal", "ttl": "5s", "notification": {"tag": "k"}},
    }


def test_a_withdrawal_shows_nothing() -> None:
    found = built(Push("", "", withdrawn=True), collapse_key="k", priority="high")
    assert found == {
        "token": "t",
        "data": {"withdrawn": "e1", "tag": "k"},
        "android": {"collapse_key": "k", "priority": "high", "ttl": f"{MAX_TTL}s"},
    }


@given(st.text(max_size=1_000), st.text(max_size=16_000), st.dictionaries(st.text(), st.text(max_size=500), max_size=5))
def test_no_request_is_too_big(title: str, text: str, data: dict[str, str]) -> None:
    found = built(Push(title, text, "https://shop.example/", data))
    assert len(orjson.dumps([found["data"], found["notification"]])) <= 4_096 + 3
    assert all(isinstance(value, str) for value in found["data"].values())


@pytest.mark.parametrize("text", ["x" * 16_000, "ü" * 8_000, "\\" * 2_500, "\0" * 16_000])
def test_what_would_be_too_big_goes_out_short(text: str) -> None:
    found = built(Push("Hello", text, "https://shop.example/", {"more": text}))
    assert len(orjson.dumps([found["data"], found["notification"]])) <= 4_096
    assert set(found["data"]) == {"id", "tag", "url"}
    assert found["notification"]["title"] == "Hello"
