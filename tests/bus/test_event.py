"""The validator: it never raises, names every fault by its place, and takes what it should."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import DEFAULT_TTL, MAX_TTL, Event, Invalid, Problem, Step, id_in, parse, ref_of
from bus.tree import MAX_DEPTH, MAX_INTEGER, MIN_INTEGER

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4), max_leaves=20
)
FIELDS = (
    *("id", "source", "type", "to", "time", "key", "category", "title", "body", "data", "template", "ladder", "ttl"),
    *("at", "collapse_key", "priority", "ephemeral"),
)
GOOD: dict[str, Any] = {"type": "t", "to": {"users": ["alice"]}}


def read(raw: object, **more: Any) -> Event | Invalid:
    return parse(raw, **({"default_id": "d", "default_source": "s", "now": 5.0} | more))


def good(**fields: Any) -> Event:
    event = read(GOOD | fields)
    assert isinstance(event, Event), event
    return event


def fault(**fields: Any) -> Problem:
    found = read(GOOD | fields)
    assert isinstance(found, Invalid), found
    (problem,) = found.problems
    return problem


# Whatever comes --------------------------------------------------------------------------------------------------


@given(JSON | st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_json_gives_an_event_or_its_faults(raw: Any) -> None:
    found = read(raw)
    assert isinstance(found, Event) or found.problems
    str(found)


@given(
    st.dictionaries(
        st.sampled_from(FIELDS),
        JSON
        | st.just({"users": ["a"], "topics": ["n:t"]})
        | st.just([{"via": "live"}])
        | st.sampled_from(["t", 1, True]),
    )
)
def test_faults_lie_where_the_input_has_something_or_lacks_it(raw: dict[str, Any]) -> None:
    found = read(raw)
    if isinstance(found, Invalid):
        for problem in found.problems:
            first = problem.pointer.split("/")[1] if problem.pointer else None
            assert first is None or first.replace("~1", "/").replace("~0", "~") in (*raw, "type", "to")


@pytest.mark.parametrize("raw", [None, 1, "x", [], [GOOD], True])
def test_an_event_is_an_object(raw: object) -> None:
    assert read(raw) == Invalid((Problem("", "must be a JSON object"),))


def test_a_fault_never_repeats_what_was_sent() -> None:
    secret = "hunter2"
    bad = {name: [secret] for name in FIELDS} | {"to": {"users": [{secret: 1}], secret: 1}, "data": 2**70}
    assert secret not in str(read(bad))
    assert secret not in str(read(bad | {"data": 1}))


@pytest.mark.parametrize(
    ("raw", "place"),
    [
        ({"data": {"hunter2": 2**70}}, "/data"),
        ({"hunter2": {"data": 2**70}}, "/"),
        ({"data/hunter2": 2**70}, "/"),
        ({"to": {"hunter2": 2**70}}, "/to"),
        ({"to": {"users": [2**70]}}, "/to/users/0"),
        ({"to": {"users": {"491511234567": 2**70}}}, "/to/users"),
        ({"ladder": [{"via": 2**70}]}, "/ladder/0/via"),
        ({"ladder": [{"hunter2": 2**70}]}, "/ladder/0"),
    ],
)
def test_a_name_that_the_producer_made_up_is_not_repeated_either(raw: dict[str, Any], place: str) -> None:
    assert str(read(GOOD | raw)) == f"{place} must fit into 64 bits; send a larger number as a string"


def test_every_fault_is_listed() -> None:
    found = read({"type": 7, "to": {"users": [1]}, "ttl": "x", "title": 1, "ephemeral": 1})
    assert isinstance(found, Invalid)
    assert [p.pointer for p in found.problems] == ["/type", "/to/users/0", "/title", "/ttl", "/ephemeral"]
    assert str(found).startswith("/type must be a string; ")


# Fields ----------------------------------------------------------------------------------------------------------


def test_what_is_absent_has_a_default() -> None:
    event = good()
    assert event == Event(id="d", source="s", type="t", created_at=5.0, users=("alice",), ttl=DEFAULT_TTL)


def test_null_is_absent() -> None:
    assert good(**{name: None for name in FIELDS if name not in ("type", "to")}) == good()


def test_what_is_given_is_kept() -> None:
    event = good(
        id="1",
        source="shop",
        time="1970-01-01T00:00:00Z",
        key="k",
        category="c",
        title="T",
        body="B",
        data=[1],
        template="x",
        ladder=[{"via": "live"}, {"via": "push", "after": 30, "unless": "acked"}],
        ttl=0,
        at="2026-01-02T03:04:05.678+01:00",
        collapse_key="ck",
        priority="low",
        ephemeral=True,
        colour="blue",
    )
    assert (event.id, event.source, event.key, event.category, event.template) == ("1", "shop", "k", "c", "x")
    assert (event.title, event.body, event.data, event.collapse_key, event.priority) == ("T", "B", [1], "ck", "low")
    assert event.created_at == 0.0, "the first moment of 1970 is a time too"
    assert event.at == datetime(2026, 1, 2, 2, 4, 5, 678_000, UTC).timestamp()
    assert event.ladder == (Step("live"), Step("push", 30, "acked"))
    assert (event.ttl, event.ephemeral, event.extra) == (0, True, {"colour": "blue"})


def test_a_type_is_needed_and_the_systems_own_are_not_for_producers() -> None:
    assert read({"to": {"users": ["a"]}}) == Invalid((Problem("/type", "is required"),))
    assert fault(type=None).pointer == "/type"
    assert fault(type="tocsin.message").message == "must not begin with tocsin."
    assert isinstance(read(GOOD | {"type": "tocsin.message"}, internal=True), Event)


@pytest.mark.parametrize(
    ("to", "pointer"),
    [
        (None, "/to"),
        ("alice", "/to"),
        ({}, "/to"),
        ({"users": []}, "/to"),
        ({"users": None}, "/to"),
        ({"users": ["a"], "group": ["b"]}, "/to"),
        ({"users": "alice"}, "/to/users"),
        ({"users": ["a", ""]}, "/to/users/1"),
        ({"topics": ["a"]}, "/to/topics/0"),
        ({"users": ["a"], "topics": [None]}, "/to/topics/0"),
    ],
)
def test_an_audience_names_somebody(to: Any, pointer: str) -> None:
    assert fault(to=to).pointer == pointer


def test_who_is_named_twice_is_meant_once() -> None:
    event = good(to={"users": ["a", "b", "a"], "topics": ["n:t", "n:t"]})
    assert (event.users, event.topics) == (("a", "b"), ("n:t",))


def test_of_a_thousand_faults_ten_are_told() -> None:
    found = read(GOOD | {"to": {"users": [""] * 1_000}})
    assert isinstance(found, Invalid)
    assert len(found.problems) == 10


@pytest.mark.parametrize(
    ("steps", "pointer"),
    [
        ({}, "/ladder"),
        ([], "/ladder"),
        ([{"via": "live"}] * 11, "/ladder"),
        ([7], "/ladder/0"),
        ([{"via": "live"}, {}], "/ladder/1/via"),
        ([{"via": ["live"]}], "/ladder/0/via"),
        ([{"via": "live", "after": -1}], "/ladder/0/after"),
        ([{"via": "live", "after": True}], "/ladder/0/after"),
        ([{"via": "live", "after": 1.5}], "/ladder/0/after"),
        ([{"via": "live", "after": MAX_TTL + 1}], "/ladder/0/after"),
        ([{"via": "live", "unless": "seen"}], "/ladder/0/unless"),
    ],
)
def test_a_ladder_has_known_steps(steps: Any, pointer: str) -> None:
    assert fault(ladder=steps).pointer == pointer


@pytest.mark.parametrize(
    "moment",
    [
        7,
        "",
        "tomorrow",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-02-30T00:00:00Z",
        "2026-01-02T03:04:60Z",
        "20260102T030405Z",
        "2026-W01-1T00:00:00Z",
        "2026-01-02T03:04:05+0100",
        "2026-01-02T03:04:05+25:00",
        "٢٠٢٦-01-02T03:04:05Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "2026-01-02T03:04:05." + "1" * 100 + "Z",
        "2026-01-02T03:04:05Z\n",
    ],
)
def test_a_time_is_rfc_3339(moment: Any) -> None:
    assert fault(time=moment).pointer == "/time"
    assert fault(at=moment).message == "must be an RFC 3339 date and time with an offset"


@given(st.datetimes(timezones=st.just(UTC)), st.sampled_from("tT "), st.booleans())
def test_a_time_is_kept_to_the_millisecond(moment: datetime, between: str, zulu: bool) -> None:
    text = moment.isoformat(between)
    event = good(at=text.replace("+00:00", "z") if zulu else text)
    assert event.at is not None
    assert 0 <= moment.timestamp() - event.at < 0.0011
    assert event.at * 1000 == pytest.approx(round(event.at * 1000), abs=0.05)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("title", 1),
        ("title", "x" * 1_001),
        ("body", "x" * 16_001),
        ("ttl", -1),
        ("ttl", MAX_TTL + 1),
        ("ttl", True),
        ("ttl", "60"),
        ("priority", "urgent"),
        ("priority", []),
        ("ephemeral", "true"),
        ("id", ""),
        ("id", 7),
        ("key", "x" * 129),
        ("source", " x"),
        ("category", "a\tb"),
        ("template", "a\x7f"),
        ("collapse_key", "\ud800"),
    ],
)
def test_each_field_has_its_rule(name: str, value: Any) -> None:
    assert fault(**{name: value}).pointer == f"/{name}"


# Identity and order ----------------------------------------------------------------------------------------------

NAMES = st.text(min_size=1, max_size=6)


@given(NAMES, NAMES, NAMES, NAMES)
def test_references_are_injective(source: str, name: str, other_source: str, other_name: str) -> None:
    one = Event(id=name, source=source, type="t", created_at=0)
    other = Event(id=other_name, source=other_source, type="t", created_at=0)
    assert (one.ref == other.ref) == ((source, name) == (other_source, other_name))


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"key": "k", "to": {"users": ["a"]}}, "k"),
        ({"to": {"users": ["a"], "topics": ["n:t"]}}, "a"),
        ({"to": {"users": ["a", "b"], "topics": ["n:t", "n:u"]}}, "n:t"),
        ({"to": {"users": ["a", "b"]}}, "d"),
    ],
)
def test_what_decides_the_partition(fields: dict[str, Any], key: str) -> None:
    assert good(**fields).ordering_key == key


# Depth and numbers -----------------------------------------------------------------------------------------------


def nested(levels: int) -> Any:
    value: Any = 1
    for i in range(levels):
        value = [value] if i % 2 else {"a": value}
    return value


def test_an_event_nests_32_levels_and_no_more() -> None:
    good(data=nested(MAX_DEPTH - 1))
    assert fault(data=nested(MAX_DEPTH)) == Problem("", "must not nest deeper than 32 levels")


@pytest.mark.parametrize("number", [MAX_INTEGER, MIN_INTEGER, 0, 1e308, -1e-308, True])
def test_numbers_that_json_carries(number: float) -> None:
    assert good(data={"n": [number]}).data == {"n": [number]}


@pytest.mark.parametrize("number", [MAX_INTEGER + 1, MIN_INTEGER - 1, 10**400, float("inf"), float("nan")])
def test_numbers_that_json_would_change(number: float) -> None:
    assert fault(data={"~/": [0, number]}).pointer == "/data/~0~1/1"


@given(st.text(max_size=30), st.text(max_size=30))
def test_the_id_is_found_in_the_reference(source: str, id: str) -> None:
    assert id_in(ref_of(source, id)) == id


@pytest.mark.parametrize("ref", ["", "tocsin/1f", "x.a/b", "3.a/b", "12345.a/b", "².a/b"])
def test_there_is_no_id_in_what_is_no_reference(ref: str) -> None:
    assert id_in(ref) is None
