"""Preferences as people see and change them: what is on, what is locked, and what cannot be turned off."""

from __future__ import annotations

from typing import Any

from bus.event import VIAS
from bus.people.categories import Categories
from bus.people.preferences import Faults, Preferences
from gateway.choices import patched, replaced, shown, without

CATEGORIES = Categories({"security": {"required": True}, "news": {"title": "News", "off": ["sms"]}})


def switches(chosen: Preferences, name: str) -> dict[str, tuple[bool, bool]]:
    """(on, locked) by channel."""
    found = next(c for c in shown(chosen, CATEGORIES)["categories"] if c["name"] == name)
    return {channel: (switch["on"], switch["locked"]) for channel, switch in found["channels"].items()}


def test_what_is_shown() -> None:
    found = shown(Preferences(), CATEGORIES)
    assert (found["preferences"], found["channels"]) == ({}, list(VIAS))
    assert [(c["name"], c["title"], c["required"]) for c in found["categories"]] == [
        ("security", "security", True),
        ("news", "News", False),
    ]
    assert switches(Preferences(), "security") == dict.fromkeys(VIAS, (True, True))
    assert switches(Preferences(), "news") == dict.fromkeys(VIAS, (True, False)) | {"sms": (False, False)}


def test_a_channel_that_is_off_is_off_and_locked_in_every_category_but_the_required() -> None:
    quiet = Preferences(channels={"email": False}, categories={"news": {"push": False}})
    assert switches(quiet, "news")["email"] == (False, True)
    assert switches(quiet, "news")["push"] == (False, False)
    assert switches(quiet, "security")["email"] == (True, True)


def test_a_new_document() -> None:
    assert replaced({"categories": {"news": False}}, CATEGORIES) == Preferences(categories={"news": False})
    wrong: list[Any] = [
        {"categories": {"security": False}},
        {"categories": {"security": {"push": False}}},
        {"x": 1},
        [],
    ]
    for raw in wrong:
        assert isinstance(replaced(raw, CATEGORIES), Faults)


def test_a_patch() -> None:
    old = Preferences(locale="de", categories={"news": {"push": False}})
    assert patched(old, {"locale": None, "categories": {"news": {"email": False}}}, CATEGORIES) == Preferences(
        categories={"news": {"push": False, "email": False}}
    )
    assert isinstance(patched(old, {"categories": {"security": {"email": False}}}, CATEGORIES), Faults)
    assert isinstance(patched(old, {"timezone": "Mars/Olympus"}, CATEGORIES), Faults)
    assert patched(old, {"categories": {"news": None}}, CATEGORIES) == Preferences(locale="de")


def test_a_patch_is_not_refused_for_what_was_chosen_before_it_became_required() -> None:
    old = Preferences(categories={"security": False})
    assert patched(old, {"locale": "de"}, CATEGORIES) == Preferences(locale="de", categories={"security": False})


def test_one_channel_of_a_category_is_turned_off_whatever_was_chosen_before() -> None:
    def after(*chosen: Any) -> Any:
        old = Preferences(categories={"news": chosen[0]} if chosen else {})
        return without(old, "news", "email").categories["news"]

    assert after() == {"email": False}
    assert after(True) == {"email": False}
    assert after(False) is False
    assert after({"email": True, "push": False}) == {"email": False, "push": False}
