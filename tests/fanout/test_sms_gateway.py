"""Requests made from patterns, and answers read by status."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.outcome import Done, Gone, Misconfigured, Rejected, Retry, Scope, Throttled
from fanout.channels.http import Answer
from fanout.channels.sms_gateway import THROTTLE, Service, body, outcome, unknown_place

VALUES = {"to": "+4179", "digits": "4179", "text": "hi", "from": "Shop", "id": "0f"}
SERVICE = Service("https://sms.example/", {"to": "{to}"}, code="error.code", gone=("bad",))


def test_patterns_are_filled_at_every_depth() -> None:
    pattern = {"a": ["{to}", 7, None], "b": {"c": "{from}: {text}", "d": True}, "e": "{id}/{digits}"}
    found = json.loads(body(Service("u", pattern), VALUES))
    assert found == {"a": ["+4179", 7, None], "b": {"c": "Shop: hi", "d": True}, "e": "0f/4179"}
    assert body(Service("u", {"m": "{text} {to}"}, "form"), VALUES) == b"m=hi+%2B4179"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_stays_in_its_place(text: str) -> None:
    values = VALUES | {"text": text}
    assert json.loads(body(Service("u", {"m": "{text}", "n": 1}), values)) == {"m": text, "n": 1}
    form = body(Service("u", {"m": "{text}", "n": "1"}, "form"), values).decode()
    assert parse_qsl(form, keep_blank_values=True) == [("m", text), ("n", "1")]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ({"a": "{to}", "b": ["{text}", {"c": "{id}"}]}, None),
        ({"a": "{to}", "b": ["{text}", {"c": "{who}"}]}, "who"),
        ({"a": 7}, None),
        ("{To}", "To"),
        ([], None),
    ],
)
def test_unknown_places_are_found(pattern: Any, found: str | None) -> None:
    assert unknown_place(pattern) == found


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(202, {}, b""), Done()),
        (Answer(400, {}, b'{"error":{"code":"bad"}}'),
         Gone("the service answered 400 and that the number is not one to send to")),
        (Answer(400, {}, b'{"error":{"code":"other"}}'), Rejected("the service answered 400")),
        (Answer(400, {}, b'{"error":"bad"}'), Rejected("the service answered 400")),
        (Answer(400, {}, b'{}'), Rejected("the service answered 400")),
        (Answer(400, {}, b'bad'), Rejected("the service answered 400")),
        (Answer(429, {}, b""), Throttled(THROTTLE, Scope.ENDPOINT, "the service answered 429")),
        (Answer(429, {"retry-after": "3"}, b""), Throttled(3.0, Scope.ENDPOINT, "the service answered 429")),
        (Answer(401, {}, b""), Misconfigured("the service answered 401")),
        (Answer(301, {}, b""), Misconfigured("the service answered 301")),
        (Answer(503, {"retry-after": "3"}, b""), Retry("the service answered 503", 3.0)),
        (Answer(425, {}, b""), Retry("the service answered 425")),
    ],
)  # fmt: skip
def test_answers(answer: Answer, expected: object) -> None:
    assert outcome(SERVICE, answer, 0.0) == expected


def test_without_a_place_for_reasons_none_is_looked_for() -> None:
    assert outcome(Service("u", {}), Answer(400, {}, b'{"error":{"code":"bad"}}'), 0.0) == Rejected(
        "the service answered 400"
    )
