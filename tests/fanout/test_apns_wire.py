"""The request and the answer of APNs: every reason that Apple documents."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.apns_wire import MAX_PAYLOAD, MAX_TTL, headers, path, payload, reason_of, verdict
from fanout.channels.delivery import Delivery, Push, PushTarget

NOW = 1_800_000_000.0
HELLO = Push("Hello", "World")


def body(reason: str, timestamp: Any = None) -> bytes:
    return orjson.dumps({"reason": reason} | ({} if timestamp is None else {"timestamp": timestamp}))


def judged(status: int, raw: bytes, found: dict[str, str] | None = None, **changes: Any) -> Outcome:
    return verdict(status, found or {}, raw, NOW, **{"registered_at": 0.0, "ordinary": True, **changes})


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "BadCollapseId", Rejected),
        (400, "BadDeviceToken", Rejected),
        (400, "BadExpirationDate", Rejected),
        (400, "BadMessageId", Rejected),
        (400, "BadPriority", Rejected),
        (400, "BadTopic", Misconfigured),
        (400, "DeviceTokenNotForTopic", Rejected),
        (400, "DuplicateHeaders", Rejected),
        (400, "IdleTimeout", Retry),
        (400, "InvalidPushType", Rejected),
        (400, "MissingDeviceToken", Rejected),
        (400, "MissingTopic", Misconfigured),
        (400, "PayloadEmpty", Rejected),
        (400, "TopicDisallowed", Misconfigured),
        (403, "BadCertificate", Misconfigured),
        (403, "BadCertificateEnvironment", Misconfigured),
        (403, "BadEnvironmentKeyIdInToken", Misconfigured),
        (403, "ExpiredProviderToken", Misconfigured),
        (403, "Forbidden", Misconfigured),
        (403, "InvalidProviderToken", Misconfigured),
        (403, "MissingProviderToken", Misconfigured),
        (403, "UnrelatedKeyIdInToken", Misconfigured),
        (404, "BadPath", Rejected),
        (405, "MethodNotAllowed", Rejected),
        (410, "ExpiredToken", Gone),
        (410, "Unregistered", Gone),
        (413, "PayloadTooLarge", Rejected),
        (429, "TooManyProviderTokenUpdates", Throttled),
        (429, "TooManyRequests", Throttled),
        (500, "InternalServerError", Retry),
        (503, "ServiceUnavailable", Retry),
        (503, "Shutdown", Retry),
        (502, "", Retry),
        (408, "", Retry),
        (301, "", Rejected),
        (403, "SomethingNew", Misconfigured),
    ],
)
def test_what_each_reason_means(status: int, reason: str, kind: type[Outcome]) -> None:
    found = judged(status, body(reason))
    assert isinstance(found, kind)
    assert "SomethingNew" not in repr(found)


def test_taken() -> None:
    assert judged(200, b"") == Done()


@given(st.integers(201, 599), st.one_of(st.binary(max_size=40), st.text().map(body)))
def test_only_410_says_gone(status: int, raw: bytes) -> None:
    found = judged(status, raw)
    assert isinstance(found, Gone) is (status == 410)
    assert not isinstance(found, Done)


@pytest.mark.parametrize(
    ("since", "registered_at", "kind"),
    [
        (NOW * 1000, NOW - 1, Gone),
        (NOW * 1000, NOW, Gone),
        (NOW * 1000, NOW + 1, Retry),
        (None, NOW + 1, Gone),
        ("yesterday", NOW + 1, Gone),
        (True, NOW + 1, Gone),
    ],
)
def test_a_device_that_registered_after_that_lives(since: Any, registered_at: float, kind: type[Outcome]) -> None:
    assert isinstance(judged(410, body("Unregistered", since), registered_at=registered_at), kind)


def test_an_environment_that_a_device_brought_is_its_own_trouble() -> None:
    assert isinstance(judged(403, body("BadEnvironmentKeyIdInToken"), ordinary=False), Rejected)
    assert isinstance(judged(403, body("InvalidProviderToken"), ordinary=False), Misconfigured)


def test_how_far_a_throttle_reaches_and_how_long() -> None:
    asked = {"retry-after": "7"}
    assert judged(429, body("TooManyRequests"), asked) == Throttled(7.0, Scope.TARGET)
    assert judged(429, b"") == Throttled(60.0, Scope.TARGET)
    assert judged(429, body("TooManyProviderTokenUpdates")) == Throttled(1_200.0, Scope.CHANNEL)
    assert judged(429, body("TooManyProviderTokenUpdates"), asked) == Throttled(7.0, Scope.CHANNEL)
    assert judged(503, body("Shutdown"), asked) == Retry("APNs has trouble (Shutdown)", 7.0)


@pytest.mark.parametrize("raw", [b"", b"[]", b"7", b"{", b'{"reason":null}', b"{}"])
def test_bodies_with_no_reason(raw: bytes) -> None:
    assert reason_of(raw)[0] in ("", "None")
    assert isinstance(judged(400, raw), Rejected)


@pytest.mark.parametrize("token", ["ab" * 32, "AB09", "f" * 200])
def test_where_a_request_goes(token: str) -> None:
    assert path(token) == f"/3/device/{token}"


@pytest.mark.parametrize("token", ["", "xy", "../x", "a" * 201, "ab\r\n", "ａ"])
def test_tokens_that_are_none(token: str) -> None:
    assert path(token) is None


def delivery(expires_at: float | None = None, **event: Any) -> Delivery:
    about = Event(**{"id": "e1", "source": "shop", "type": "note", "created_at": 1.0, **event})
    return Delivery("0" * 31 + "1", "push", "alice", PushTarget("d1", "apns", "ab"), HELLO, about, expires_at)


def test_the_headers_of_an_alert() -> None:
    assert headers(delivery(NOW + 60, collapse_key="k", priority="low"), HELLO, "com.example", "bearer t", NOW) == {
        "authorization": "bearer t",
        "apns-topic": "com.example",
        "apns-push-type": "alert",
        "apns-priority": "5",
        "apns-expiration": str(int(NOW) + 60),
        "apns-collapse-id": "k",
        "apns-id": "00000000-0000-0000-0000-000000000001",
        "content-type": "application/json",
    }
    unending = headers(delivery(), HELLO, "com.example", "bearer t", NOW)
    assert (unending["apns-expiration"], unending["apns-priority"]) == (str(int(NOW) + MAX_TTL), "10")


def test_a_withdrawal_is_never_urgent() -> None:
    gone = Push("", "", withdrawn=True)
    found = headers(delivery(priority="high"), gone, "com.example", "bearer t", NOW)
    assert (found["apns-push-type"], found["apns-priority"]) == ("background", "5")
    said = orjson.loads(payload(delivery(collapse_key="k"), gone))
    assert said == {"aps": {"content-available": 1}, "withdrawn": "e1", "tag": "k"}


def test_what_is_not_urgent_makes_no_sound() -> None:
    assert orjson.loads(payload(delivery(priority="low"), HELLO))["aps"] == {
        "alert": {"title": "Hello", "body": "World"}
    }
    assert orjson.loads(payload(delivery(), HELLO))["aps"]["sound"] == "default"


@given(st.text(max_size=1_000), st.text(max_size=16_000), st.dictionaries(st.text(), st.text(max_size=500), max_size=5))
def test_no_payload_is_too_big(title: str, text: str, data: dict[str, str]) -> None:
    assert len(payload(delivery(), Push(title, text, "https://shop.example/", data))) <= MAX_PAYLOAD


@pytest.mark.parametrize("text", ["x" * 16_000, "\0" * 16_000])
def test_what_would_be_too_big_goes_out_short(text: str) -> None:
    found = payload(delivery(), Push("Hello", text, "https://shop.example/", {"more": text}))
    assert len(found) <= MAX_PAYLOAD
    said = orjson.loads(found)
    assert set(said) == {"aps", "id", "tag", "url"}
    assert said["aps"]["alert"]["title"] == "Hello"
