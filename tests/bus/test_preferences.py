"""Preferences: who says no to what, and that a document survives being written, read, patched and damaged."""

from __future__ import annotations

from datetime import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import VIAS
from bus.people.categories import DIGESTED, MAX_WINDOW, Category, Digest
from bus.people.preferences import (
    CATEGORY_OFF,
    CHANNEL_OFF,
    OFF_BY_DEFAULT,
    Faults,
    Preferences,
    digest_of,
    forbidden,
    held_until,
    live_fields,
    merged,
    parse,
    read,
    refusal,
)
from bus.people.quiet_hours import QuietHours

NEWS = Category("news")
SWITCHES = st.dictionaries(st.sampled_from(VIAS), st.booleans())
NAMES = st.sampled_from(["", "news", "promo", "a:b"])
DIGESTS = st.builds(Digest, st.integers(1, MAX_WINDOW), st.integers(2, 100)) | st.none()
DOCUMENTS = st.builds(
    Preferences,
    locale=st.sampled_from([None, "de", "pt-BR"]),
    timezone=st.sampled_from([None, "Europe/Berlin", "UTC"]),
    channels=SWITCHES,
    categories=st.dictionaries(NAMES, st.booleans() | SWITCHES),
    quiet_hours=st.sampled_from(
        [None, QuietHours(time(22), time(7)), QuietHours(time(1), time(2), ("email",), (0, 6))]
    ),
    digest=st.dictionaries(NAMES, st.dictionaries(st.sampled_from(DIGESTED), DIGESTS)),
)


@pytest.mark.parametrize(
    ("chosen", "category", "says"),
    [
        (Preferences(), NEWS, None),
        (Preferences(channels={"email": True}), NEWS, None),
        (Preferences(channels={"push": False}), NEWS, None),
        (Preferences(channels={"email": False}), NEWS, CHANNEL_OFF),
        (Preferences(categories={"promo": False}), NEWS, None),
        (Preferences(categories={"news": False}), NEWS, CATEGORY_OFF),
        (Preferences(categories={"news": {"email": False}}), NEWS, CATEGORY_OFF),
        (Preferences(categories={"news": {"push": False}}), NEWS, None),
        # Each says no by itself: a category that is on does not overrule a channel that is off.
        (Preferences(channels={"email": False}, categories={"news": {"email": True}}), NEWS, CHANNEL_OFF),
        (Preferences(channels={"email": True}, categories={"news": False}), NEWS, CATEGORY_OFF),
        # Off unless the person turns it on, and by name.
        (Preferences(), Category("news", off=("email",)), OFF_BY_DEFAULT),
        (Preferences(channels={"email": True}), Category("news", off=("email",)), OFF_BY_DEFAULT),
        (Preferences(categories={"news": True}), Category("news", off=("email",)), OFF_BY_DEFAULT),
        (Preferences(categories={"news": {"email": True}}), Category("news", off=("email",)), None),
        (Preferences(), Category("news", off=("push",)), None),
        # Required means required.
        (Preferences(channels={"email": False}), Category("news", required=True), None),
        (Preferences(categories={"news": False}), Category("news", required=True), None),
        # What comes without a category is one too.
        (Preferences(categories={"": {"email": False}}), Category(""), CATEGORY_OFF),
    ],
)
def test_who_says_no(chosen: Preferences, category: Category, says: str | None) -> None:
    assert refusal(chosen, category, "email") == says


def test_a_digest_is_the_persons_choice_before_the_categorys() -> None:
    category = Category("news", digest={"email": Digest(3600, 10)})
    assert digest_of(Preferences(), category, "email") == Digest(3600, 10)
    assert digest_of(Preferences(), category, "push") is None
    assert digest_of(Preferences(digest={"news": {"email": None}}), category, "email") is None
    assert digest_of(Preferences(digest={"news": {"push": Digest(60)}}), category, "push") == Digest(60)
    assert digest_of(Preferences(digest={"promo": {"email": None}}), category, "email") == Digest(3600, 10)


def test_quiet_hours_hold_back_what_they_are_for() -> None:
    night = Preferences(timezone="Europe/Berlin", quiet_hours=QuietHours(time(22), time(7)))
    midnight = 1_781_042_400.0  # 2026-06-10 00:00 in Berlin
    assert held_until(night, NEWS, "push", "UTC", midnight) == midnight + 7 * 3600
    assert held_until(night, NEWS, "sms", "UTC", midnight) == midnight + 7 * 3600
    assert held_until(night, NEWS, "email", "UTC", midnight) is None
    assert held_until(night, NEWS, "push", "UTC", midnight + 8 * 3600) is None
    assert held_until(night, Category("news", ignore_quiet_hours=True), "push", "UTC", midnight) is None
    assert held_until(Preferences(), NEWS, "push", "UTC", midnight) is None
    elsewhere = Preferences(quiet_hours=QuietHours(time(22), time(7)))
    assert held_until(elsewhere, NEWS, "push", "Asia/Tokyo", midnight) is None  # seven in the morning there


@pytest.mark.parametrize(
    ("chosen", "fields"),
    [
        (Preferences(), {}),
        (Preferences(channels={"live": False}), {"live:*": "0"}),
        (Preferences(channels={"live": True, "email": False}), {}),
        (Preferences(categories={"news": False, "promo": True}), {"live:news": "0"}),
        (Preferences(categories={"news": {"live": False}, "": {"live": True}}), {"live:news": "0", "live:": "1"}),
        (Preferences(categories={"news": {"email": False}}), {}),
    ],
)
def test_what_the_publishing_script_is_told(chosen: Preferences, fields: dict[str, str]) -> None:
    assert live_fields(chosen) == fields


@given(DOCUMENTS, NAMES)
def test_the_script_and_the_rules_agree(chosen: Preferences, name: str) -> None:
    fields = live_fields(chosen)
    muted = fields.get("live:*") == "0" or fields.get(f"live:{name}") == "0"
    assert (refusal(chosen, Category(name), "live") is not None) == muted
    by_default_off = muted or fields.get(f"live:{name}") != "1"
    assert (refusal(chosen, Category(name, off=("live",)), "live") is not None) == by_default_off


@given(DOCUMENTS)
def test_what_is_written_can_be_read(chosen: Preferences) -> None:
    raw = chosen.to_json()
    assert parse(raw) == chosen
    assert read(orjson.dumps(raw)) == chosen


def test_nothing_stored_is_nothing_chosen() -> None:
    assert read(None) == read(b"") == read(b"[]") == read(b"{damaged") == Preferences()


def test_what_is_not_understood_is_passed_over() -> None:
    stored = {"locale": "!", "channels": {"email": False, "telex": True}, "categories": 7, "mood": "good"}
    assert read(orjson.dumps(stored)) == Preferences(channels={"email": False})


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        ([], ""),
        ({"mood": "good"}, ""),
        ({"locale": "deutsch!"}, "/locale"),
        ({"locale": 7}, "/locale"),
        ({"timezone": "Mars/Olympus"}, "/timezone"),
        ({"timezone": 1}, "/timezone"),
        ({"channels": []}, "/channels"),
        ({"channels": {"telex": True}}, "/channels"),
        ({"channels": {"email": 0}}, "/channels"),
        ({"categories": []}, "/categories"),
        ({"categories": {str(i): True for i in range(201)}}, "/categories"),
        ({"categories": {" x": True}}, "/categories"),
        ({"categories": {"news": "yes"}}, "/categories"),
        ({"categories": {"news": {"email": "yes"}}}, "/categories"),
        ({"quiet_hours": {"from": "22:00"}}, "/quiet_hours"),
        ({"digest": {"news": "off"}}, "/digest"),
        ({"digest": {"news": {"live": "off"}}}, "/digest"),
        ({"digest": {"news": {"email": "on"}}}, "/digest"),
        ({"digest": {"news": {"email": {"window": 0}}}}, "/digest"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(raw: Any, pointer: str) -> None:
    found = parse(raw)
    assert isinstance(found, Faults)
    assert [fault.pointer for fault in found.faults] == [pointer]


def test_a_patch_changes_what_it_names() -> None:
    doc = {"locale": "de", "channels": {"email": False, "push": True}, "quiet_hours": {"from": "22:00", "to": "07:00"}}
    patch = {
        "locale": None,
        "channels": {"email": None, "sms": False},
        "quiet_hours": {"to": "08:00"},
        "timezone": "UTC",
    }
    assert merged(doc, patch) == {
        "channels": {"push": True, "sms": False},
        "quiet_hours": {"from": "22:00", "to": "08:00"},
        "timezone": "UTC",
    }
    assert merged({"categories": {"news": True}}, {"categories": {"news": {"email": False}}}) == {
        "categories": {"news": {"email": False}}
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.text(max_size=2),
    lambda below: st.dictionaries(st.sampled_from("abc"), below) | st.lists(below, max_size=2),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON)


@given(OBJECTS, OBJECTS)
def test_a_patch_twice_is_a_patch_once(doc: dict[str, Any], patch: dict[str, Any]) -> None:
    assert merged(merged(doc, patch), patch) == merged(doc, patch)


@pytest.mark.parametrize(
    ("chosen", "required", "is_forbidden"),
    [
        (False, True, True),
        ({"email": False}, True, True),
        ({"email": True}, True, False),
        (True, True, False),
        (False, False, False),
    ],
)
def test_what_is_required_cannot_be_turned_off(chosen: Any, required: bool, is_forbidden: bool) -> None:
    assert forbidden(Preferences(categories={"news": chosen}), Category("news", required=required)) is is_forbidden
    assert not forbidden(Preferences(categories={"news": chosen}), Category("other", required=True))
