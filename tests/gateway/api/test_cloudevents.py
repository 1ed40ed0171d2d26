"""CloudEvents to events: never raises, and what it makes of a good one the validator takes."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event, Invalid, Problem, parse
from gateway.api.cloudevents import UnsupportedData, from_envelope, from_headers, is_json, media_type, named_as_sent

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8), below, max_size=3),
    max_leaves=10,
)
ATTRIBUTES = st.sampled_from(
    (
        "specversion",
        "id",
        "source",
        "type",
        "time",
        "subject",
        "data",
        "data_base64",
        "datacontenttype",
        "tousers",
        "totopics",
        "ttl",
        "ephemeral",
        "to",
    )
)
NAMES = st.text(
    st.characters(codec="ascii", exclude_categories=["Cc", "Zs"], exclude_characters=",%"), min_size=1, max_size=128
)
GOOD = {"specversion": "1.0", "id": "1", "source": "s", "type": "t", "tousers": "a"}


@given(JSON | st.dictionaries(ATTRIBUTES, JSON))
def test_anything_at_all_gives_a_value(envelope: Any) -> None:
    raw = from_envelope(envelope)
    assert isinstance(raw, dict | Invalid | UnsupportedData)
    if isinstance(raw, dict):
        parse(raw, default_id="d", default_source="d", now=0.0)


@given(
    st.lists(st.tuples(ATTRIBUTES.map("ce-".__add__) | st.just("host"), st.text(st.characters(max_codepoint=255)))),
    st.sampled_from(["", "application/json", "text/plain", "image/png", "application/x+json; a=b"]),
    st.binary(max_size=20),
)
def test_any_headers_give_a_value(headers: list[tuple[str, str]], content_type: str, body: bytes) -> None:
    assert isinstance(from_headers(headers, content_type, body, 1_000), dict | Invalid | UnsupportedData)


@given(st.lists(NAMES, min_size=1, max_size=5, unique=True), st.sampled_from([None, 0, "x"]))
def test_both_modes_make_the_same_event(users: list[str], data: Any) -> None:
    envelope = GOOD | {"tousers": ",".join(users), "ttl": 60, "ephemeral": True, "subject": "about"}
    structured = from_envelope(envelope if data is None else envelope | {"data": data})
    headers = [(f"ce-{name}", "true" if value is True else str(value)) for name, value in envelope.items()]
    body = b"" if data is None else b'"x"' if data == "x" else b"0"
    binary = from_headers(headers, "application/json", body, 1_000)
    assert structured == binary
    event = parse(structured, default_id="d", default_source="d", now=0.0)
    assert isinstance(event, Event)
    assert set(event.users) == set(users)
    assert (event.ttl, event.ephemeral, event.data) == (60, True, data)
    assert event.extra == {"subject": "about"}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"data_base64": b64encode(b'{"a":1}').decode()}, {"a": 1}),
        ({"data_base64": b64encode(b"hi").decode(), "datacontenttype": "text/plain"}, "hi"),
        ({"data": "<a/>", "datacontenttype": "application/xml"}, "<a/>"),
        ({"data": None}, None),
    ],
)
def test_data_in_an_envelope(more: dict[str, Any], expected: Any) -> None:
    raw = from_envelope(GOOD | more)
    assert isinstance(raw, dict)
    assert raw.get("data") == expected


def test_data_that_is_neither_json_nor_text() -> None:
    assert from_envelope(GOOD | {"data_base64": "AAAA", "datacontenttype": "image/png"}) == UnsupportedData()
    for bad in (7, "?", "é"):
        assert isinstance(from_envelope(GOOD | {"data_base64": bad}), Invalid)
    assert isinstance(from_envelope(GOOD | {"data_base64": "AAAA", "datacontenttype": 1}), Invalid)


def test_a_header_that_is_not_utf8() -> None:
    assert from_headers([("ce-id", "%FF")], "", b"", 10) == Invalid((Problem("/id", "must be percent-encoded UTF-8"),))
    raw = from_headers([(f"ce-{k}", v) for k, v in (GOOD | {"title": "Ã©"}).items()], "", b"", 10)
    assert isinstance(raw, dict)
    assert raw["title"] == "é"


def test_a_body_over_its_limit() -> None:
    assert isinstance(from_headers([], "application/json", b"11", 1), Invalid)


@pytest.mark.parametrize(
    ("ours", "sent"),
    [
        ("/to", "/tousers"),
        ("/to/users/3", "/tousers"),
        ("/to/topics", "/totopics"),
        ("/key", "/partitionkey"),
        ("/collapse_key", "/collapsekey"),
        ("/title", "/title"),
        ("", ""),
        ("/topping", "/topping"),
    ],
)
def test_pointers_go_back(ours: str, sent: str) -> None:
    assert named_as_sent([Problem(ours, "x")]) == (Problem(sent, "x"),)


def test_media_types() -> None:
    assert media_type(" Application/JSON ; charset=x") == "application/json"
    assert is_json("application/ld+json")
    assert not is_json("application/jsonx")
