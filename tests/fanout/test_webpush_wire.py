"""The request and the answer of Web Push: every status that services document, and which endpoints are services."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.ece import MAX_PLAINTEXT
from bus.event import Event
from bus.outcome import Done, Gone, Misconfigured, Outcome, Rejected, Retry, Scope, Throttled
from fanout.channels.delivery import Delivery, Push, PushTarget
from fanout.channels.webpush_wire import HOSTS, MAX_TTL, content, headers, service_of, verdict

NOW = 1_800_000_000.0


def delivery(expires_at: float | None = None, **event: Any) -> Delivery:
    about = Event(**{"id": "e1", "source": "shop", "type": "note", "created_at": 1.0, **event})
    target = PushTarget("d1", "webpush", "https://fcm.googleapis.com/fcm/send/x")
    return Delivery("0" * 32, "push", "alice", target, Push("Hello", "World"), about, expires_at)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Done),
        (201, Done),
        (202, Done),
        (204, Done),
        (301, Rejected),
        (307, Rejected),
        (400, Rejected),
        (401, Misconfigured),
        (403, Misconfigured),
        (404, Gone),
        (406, Rejected),
        (408, Retry),
        (410, Gone),
        (413, Rejected),
        (429, Throttled),
        (500, Retry),
        (502, Retry),
        (503, Retry),
        (504, Retry),
    ],
)
def test_what_each_status_means(status: int, kind: type[Outcome]) -> None:
    assert isinstance(verdict(status, {}, NOW, proven=False), kind)


@given(st.integers(100, 599), st.booleans())
def test_only_two_say_gone(status: int, proven: bool) -> None:
    assert isinstance(verdict(status, {}, NOW, proven=proven), Gone) is (status in (404, 410))


@pytest.mark.parametrize("status", [401, 403])
def test_where_our_key_was_taken_before_a_refusal_is_the_subscriptions(status: int) -> None:
    assert isinstance(verdict(status, {}, NOW, proven=True), Rejected)


def test_the_time_that_a_service_asks_for_is_kept() -> None:
    asked = {"retry-after": "7"}
    assert verdict(429, asked, NOW, proven=True) == Throttled(7.0, Scope.ENDPOINT)
    assert verdict(429, {"retry-after": "0"}, NOW, proven=True) == Throttled(0.0, Scope.ENDPOINT)
    assert verdict(429, {}, NOW, proven=True) == Throttled(60.0, Scope.ENDPOINT)
    assert verdict(503, asked, NOW, proven=True) == Retry("the push service has trouble (503)", 7.0)


def test_the_headers_of_a_request() -> None:
    assert headers(delivery(NOW + 60, priority="high"), "k", "vapid t=a, k=b", NOW) == {
        "Authorization": "vapid t=a, k=b",
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "TTL": "60",
        "Urgency": "high",
        "Topic": "k",
    }
    assert headers(delivery(), "", "", NOW)["TTL"] == str(MAX_TTL)


@given(st.text(max_size=5_000), st.text(max_size=128))
def test_content_always_fits(body: str, id: str) -> None:
    said = {"id": id, "tag": "t", "title": "", "body": body}
    found = content(said)
    assert len(found) <= MAX_PLAINTEXT
    assert orjson.loads(found) in (said, {"id": id, "tag": "t", "thin": True})


def test_what_does_not_fit_goes_out_thin() -> None:
    said = {"id": "e1", "tag": "t", "title": "a secret", "body": "x" * MAX_PLAINTEXT}
    assert orjson.loads(content(said)) == {"id": "e1", "tag": "t", "thin": True}


@pytest.mark.parametrize(
    ("endpoint", "origin"),
    [
        ("https://fcm.googleapis.com/fcm/send/abc", "https://fcm.googleapis.com"),
        ("https://FCM.googleapis.com:443/wp/abc", "https://fcm.googleapis.com"),
        ("https://updates.push.services.mozilla.com/wpush/v2/abc", "https://updates.push.services.mozilla.com"),
        ("https://wns2-par02p.notify.windows.com/w/?token=abc", "https://wns2-par02p.notify.windows.com"),
        ("https://web.push.apple.com/abc", "https://web.push.apple.com"),
        ("https://push.apple.com/abc", None),
        ("http://fcm.googleapis.com/fcm/send/abc", None),
        ("ftp://fcm.googleapis.com/fcm/send/abc", None),
        ("https://user@fcm.googleapis.com/x", None),
        ("https://evilfcm.googleapis.com/x", None),
        ("https://fcm.googleapis.com.evil.example/x", None),
        ("https://evil.example/fcm.googleapis.com", None),
        ("https://fcm.googleapis.com@evil.example/", None),
        ("https://evil.example?fcm.googleapis.com/", None),
        ("https://evil.example#fcm.googleapis.com/", None),
        ("https://evil.example\\@fcm.googleapis.com/", None),
        ("https://fcm.googleapis.com:x/", None),
        ("https://fcm.googleapis.com", None),
        ("https://[::1/x", None),
        ("", None),
    ],
)
def test_endpoints_of_the_services_there_are(endpoint: str, origin: str | None) -> None:
    assert service_of(endpoint, HOSTS, https_only=True) == origin


def test_where_it_is_allowed_plain_http_will_do() -> None:
    found = service_of("http://127.0.0.1:9000/push/x", ("127.0.0.1",), https_only=False)
    assert found == "http://127.0.0.1:9000"
