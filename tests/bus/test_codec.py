"""The codec: what goes in comes out, also what this release does not understand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.codec import (
    DIRECT,
    VERSION,
    decode_content,
    decode_entry,
    decode_json,
    encode_content,
    encode_entry,
    encode_event,
    event_name,
    publication,
)
from bus.event import MAX_EVENT_BYTES, MESSAGE, PRIORITIES, VIAS, Event, Invalid, Step, parse

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=20)
TOPICS = st.builds("{}:{}".format, st.sampled_from(["news", "a"]), st.text("abcü:@/", min_size=1, max_size=5))
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3),
    max_leaves=8,
)
MOMENTS = st.integers(-62_135_596_800_000, 253_402_300_799_999).map(lambda ms: ms / 1000)
KNOWN = {
    *("id", "source", "type", "to", "time", "key", "category", "title", "body", "data", "template", "ladder", "ttl"),
    *("at", "collapse_key", "priority", "ephemeral"),
}
EVENTS = st.builds(
    Event,
    id=NAMES,
    source=NAMES,
    type=NAMES.filter(lambda name: not name.startswith("tocsin.")),
    created_at=MOMENTS,
    users=st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple),
    topics=st.lists(TOPICS, max_size=3, unique=True).map(tuple),
    key=st.none() | NAMES,
    category=st.none() | NAMES,
    title=st.none() | st.text(max_size=20),
    body=st.none() | st.text(max_size=20),
    data=JSON,
    template=st.none() | NAMES,
    ladder=st.none()
    | st.lists(
        st.builds(Step, st.sampled_from(VIAS), st.integers(0, 100), st.sampled_from([None, "acked", "read"])),
        min_size=1,
        max_size=3,
    ).map(tuple),
    ttl=st.sampled_from([0, 60, 86_400]),
    at=st.none() | MOMENTS,
    collapse_key=st.none() | NAMES,
    priority=st.sampled_from(PRIORITIES),
    ephemeral=st.booleans(),
    extra=st.dictionaries(st.text(max_size=8).filter(lambda name: name not in KNOWN), JSON, max_size=2),
)


def entry(event: Event, producer: str = "shop") -> dict[bytes, bytes]:
    return {name.encode(): value for name, value in encode_entry(event, producer).items()}


def decoded(fields: dict[bytes, bytes]) -> Event | Invalid:
    return decode_entry("5-1", fields, 9.0)


@given(EVENTS)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    back = decoded(entry(event))
    assert isinstance(back, Event), back
    assert back == event
    assert encode_event(back) == encode_event(event)


@given(EVENTS, st.text(min_size=1).map("x-".__add__), JSON)
def test_a_field_of_a_newer_release_survives(event: Event, name: str, value: Any) -> None:
    newer = orjson.loads(encode_event(event)) | {name: value}
    back = decoded({b"e": orjson.dumps(newer)})
    assert isinstance(back, Event)
    assert orjson.loads(encode_event(back))[name] == value


@given(EVENTS)
def test_its_content_comes_back_for_nobody(event: Event) -> None:
    assert "to" not in orjson.loads(encode_content(event))
    assert decode_content(encode_content(event)) == replace(event, users=(), topics=())


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"id":1,"source":"a","time":"2026-01-02T03:04:05Z"}'])
def test_what_is_no_content_is_none(text: bytes) -> None:
    assert decode_content(text) is None


def test_absent_fields_are_left_out() -> None:
    event = Event(id="1", source="s", type="t", created_at=0, users=("a",))
    assert orjson.loads(encode_event(event)) == {
        "id": "1",
        "source": "s",
        "type": "t",
        "time": "1970-01-01T00:00:00.000Z",
        "to": {"users": ["a"]},
    }


def test_a_bare_xadd_needs_only_the_event() -> None:
    event = decoded({b"e": b'{"type":"t","to":{"users":["a"]}}'})
    assert isinstance(event, Event)
    assert (event.id, event.source, event.created_at) == ("5-1", DIRECT, 9.0)


def test_the_systems_own_types_come_from_the_system_alone() -> None:
    event = Event(id="1", source="s", type=MESSAGE, created_at=0, topics=("a:b",))
    assert decoded(entry(event, "tocsin")) == event
    assert isinstance(decoded(entry(event, "shop")), Invalid)
    assert isinstance(decoded({b"e": encode_event(event)}), Invalid)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "no field e"),
        ({b"event": b"{}"}, "no field e"),
        ({b"e": b"{"}, "not valid JSON"),
        ({b"e": b"\xff"}, "not valid JSON"),
        ({b"e": b"[" * 2_000}, "not valid JSON"),
        ({b"e": b"7"}, "must be a JSON object"),
        ({b"e": b"{}"}, "is required"),
        ({b"e": b" " * (MAX_EVENT_BYTES + 1)}, "at most 65536 bytes"),
        ({b"v": b"2", b"e": b"{}"}, "schema version 2"),
        ({b"v": b"hunter2", b"e": b"{}"}, "schema version that is no number"),
        ({b"v": b"0", b"e": b"{}"}, "schema version"),
        ({b"v": b"", b"e": b"{}"}, "schema version"),
        ({b"v": b"\xb2", b"e": b"{}"}, "schema version"),
        ({b"v": b"9" * 10_000, b"e": b"{}"}, "schema version"),
    ],
)
def test_a_malformed_entry_says_why(fields: dict[bytes, bytes], says: str) -> None:
    found = decoded(fields)
    assert isinstance(found, Invalid)
    assert says in str(found)
    assert len(str(found)) < 300


@given(st.dictionaries(st.sampled_from([b"v", b"p", b"e", b"x"]), st.binary(max_size=50)))
def test_any_entry_gives_a_value(fields: dict[bytes, bytes]) -> None:
    assert isinstance(decoded(fields), Event | Invalid)


@given(JSON)
def test_json_comes_back(value: Any) -> None:
    data = orjson.dumps(value)
    if len(data) <= MAX_EVENT_BYTES:
        assert decode_json(data) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"18446744073709551615", 2**64 - 1),
        (b"18446744073709551616", 2**64),
        (b"-9223372036854775809", -(2**63) - 1),
        (b"1" + b"0" * 300, 2**64),
        (b"1234567890123456789.5", 1234567890123456789.5),
        (b'"1234567890123456789012"', "1234567890123456789012"),
    ],
)
def test_no_whole_number_is_rounded(text: bytes, value: object) -> None:
    found = decode_json(text)
    assert found == value
    assert type(found) is type(value)


def test_a_long_number_very_deep_down_is_left_to_the_limit_of_depth() -> None:
    deep = decode_json(b"[" * 1_000 + b"1" * 30 + b"]" * 1_000)
    assert isinstance(deep, list)
    assert isinstance(parse({"data": deep}, default_id="d", default_source="s", now=0), Invalid)


def test_a_limit_of_ones_own() -> None:
    assert decode_json(b'"12345"', 7) == "12345"
    assert isinstance(decode_json(b'"12345"', 6), Invalid)


def test_the_version_is_written() -> None:
    event = Event(id="1", source="s", type="t", created_at=0, users=("a",))
    assert entry(event)[b"v"] == str(VERSION).encode()
    assert entry(event)[b"p"] == b"shop"


# What a client sees ----------------------------------------------------------------------------------------------


def shown(event: Event) -> Any:
    return orjson.loads(b"{" + publication(event) + b"}")


@given(EVENTS)
def test_a_publication_is_the_inside_of_an_object(event: Event) -> None:
    data = shown(event)["data"]
    assert (data["id"], data["type"]) == (event.id, event.type)
    assert set(data) <= {"id", "type", "title", "body", "data", "category", "created_at", "actions"}
    assert b"\n" not in publication(event)


def test_a_notification_in_full() -> None:
    event = Event(
        id="1",
        source="s",
        type="t",
        created_at=1.5,
        title="T",
        body="B",
        data=[1],
        category="c",
        extra={"actions": [1]},
    )
    assert shown(event) == {
        "data": {
            "id": "1",
            "type": "t",
            "title": "T",
            "body": "B",
            "data": [1],
            "category": "c",
            "created_at": "1970-01-01T00:00:01.500Z",
            "actions": [1],
        }
    }


def test_a_clients_message_is_its_bare_data() -> None:
    event = Event(id="1", source="s", type=MESSAGE, created_at=0, data={"a": 1})
    assert shown(event) == {"data": {"a": 1}}
    assert shown(replace(event, data=None)) == {"data": None}
    assert shown(replace(event, extra={"info": {"user": "a"}})) == {"data": {"a": 1}, "info": {"user": "a"}}


def test_logs_name_an_event_by_the_id_its_producer_gave() -> None:
    assert event_name({b"e": b'{"id":"order-7","type":3}'}) == "order-7"
    assert [event_name({b"e": e}) for e in (b'{"id":7}', b'{"id":"a\\u0000"}', b"[]", b"{", b"")] == [""] * 5
    assert event_name({}) == ""
