"""Devices: their life, what is kept of it, and which registrations are taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from bus.ece import point_of, to_text
from bus.people.devices import FORGET_AFTER, SUSPECT_AFTER, Device, Registration, State, parse

PHONE = Device("d1", "fcm", "sealed", created_at=10.0, last_registered_at=10.0)
POINT = to_text(point_of(generate_private_key(SECP256R1())))
KEYS = {"p256dh": POINT, "auth": to_text(b"a" * 16)}
BROWSER = {"provider": "webpush", "target": "https://push.example/abc", "keys": KEYS}
APPLE = {"provider": "apns", "target": "ab" * 32, "app": "com.example.App", "environment": "sandbox"}


def test_a_life() -> None:
    assert PHONE.reachable
    worked = PHONE.failed(20).succeeded(30)
    assert (worked.failures, worked.last_success_at, worked.state) == (0, 30, State.ACTIVE)
    for _ in range(SUSPECT_AFTER - 1):
        worked = worked.failed(40)
    assert worked.state is State.ACTIVE
    suspect = worked.failed(50)
    assert (suspect.state, suspect.reachable) == (State.SUSPECT, True)
    assert suspect.failed(60).state is State.SUSPECT
    assert suspect.succeeded(60).state is State.ACTIVE
    gone = suspect.gone("410", 70)
    assert (gone.state, gone.reachable, gone.gone_reason, gone.gone_at) == (State.GONE, False, "410", 70)
    back = gone.registered(80)
    assert (back.state, back.failures, back.gone_reason, back.gone_at) == (State.ACTIVE, 0, None, None)
    assert (back.created_at, back.last_registered_at) == (10.0, 80)


def test_what_was_on_its_way_when_it_went_says_nothing() -> None:
    gone = PHONE.gone("UNREGISTERED", 20)
    assert gone.succeeded(30).state is State.GONE
    assert gone.failed(30).state is State.GONE
    assert gone.gone("other", 30) == gone


def test_a_provider_that_speaks_of_an_earlier_life() -> None:
    again = PHONE.registered(100)
    assert again.gone("Unregistered", 120, since=90) == again
    assert again.gone("Unregistered", 120, since=100).state is State.GONE
    assert again.gone("Unregistered", 120).state is State.GONE


def test_who_is_gone_for_long_is_forgotten() -> None:
    gone = PHONE.gone("x" * 1000, 20)
    assert gone.gone_reason == "x" * 100
    assert not gone.forgotten(20 + FORGET_AFTER - 1)
    assert gone.forgotten(20 + FORGET_AFTER)
    assert not PHONE.forgotten(1e12)


@given(st.lists(st.sampled_from(["registered", "succeeded", "failed", "gone"])))
def test_after_anything_a_device_is_what_it_says(happenings: list[str]) -> None:
    device, now = PHONE, 100.0
    for happening in happenings:
        now += 1
        device = device.gone("why", now) if happening == "gone" else getattr(device, happening)(now)
    assert (device.gone_at is not None) == (device.gone_reason is not None) == (not device.reachable)
    assert device.state is not State.SUSPECT or device.failures >= SUSPECT_AFTER
    assert Device.from_json("d1", device.to_json()) == device


def test_what_a_newer_release_wrote_is_passed_over() -> None:
    stored = orjson.loads(PHONE.to_json()) | {"colour": "red"}
    assert Device.from_json("d1", orjson.dumps(stored)) == PHONE
    assert Device.from_json("d2", PHONE.to_json()) == replace(PHONE, id="d2")


def test_people_see_neither_target_nor_keys() -> None:
    device = replace(PHONE, target="TARGET", keys="KEYS", locale="de")
    shown = device.shown()
    assert not {"target", "keys"} & set(shown)
    assert (shown["id"], shown["state"], shown["locale"]) == ("d1", "active", "de")
    assert "TARGET" not in repr(device)
    assert "KEYS" not in repr(device)


# Registering -----------------------------------------------------------------------------------------------------


def test_registrations() -> None:
    browser = parse(BROWSER)
    assert isinstance(browser, Registration)
    assert orjson.loads(browser.keys) == KEYS
    assert (browser.provider, browser.target) == ("webpush", "https://push.example/abc")
    assert parse(APPLE) == Registration("apns", "ab" * 32, "", "com.example.App", "sandbox")
    told = {"provider": "fcm", "target": "t" * 160, "locale": "de", "timezone": "UTC", "app": "", "keys": None}
    assert parse(told) == Registration("fcm", "t" * 160, locale="de", timezone="UTC")
    assert isinstance(parse(BROWSER | {"target": "http://localhost:9000/push"}), Registration)


def test_registering_again_keeps_what_is_known() -> None:
    registration = Registration("fcm", "sealed2", locale="de")
    assert registration.onto(None, "d1", 50.0) == Device(
        "d1", "fcm", "sealed2", locale="de", created_at=50.0, last_registered_at=50.0
    )
    again = registration.onto(PHONE.gone("410", 20), "d1", 50.0)
    assert again == replace(PHONE, target="sealed2", locale="de", last_registered_at=50.0)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (None, ""),
        ({}, "/provider"),
        ({"provider": "pigeon", "target": "x"}, "/provider"),
        (BROWSER | {"secret": 1}, ""),
        (BROWSER | {"target": None}, "/target"),
        (BROWSER | {"target": "http://push.example/abc"}, "/target"),
        (BROWSER | {"target": "https://u@push.example/abc"}, "/target"),
        (BROWSER | {"target": "https://u:p@push.example/abc"}, "/target"),
        (BROWSER | {"target": "https://push.example:x/"}, "/target"),
        (BROWSER | {"target": "https://[push"}, "/target"),
        (BROWSER | {"target": "https:///abc"}, "/target"),
        (BROWSER | {"target": "https://push.example/a b"}, "/target"),
        (BROWSER | {"target": "https://push.example/" + "a" * 2048}, "/target"),
        (BROWSER | {"keys": None}, "/keys"),
        (BROWSER | {"keys": {"p256dh": POINT}}, "/keys"),
        (BROWSER | {"keys": KEYS | {"more": "x"}}, "/keys"),
        (BROWSER | {"keys": KEYS | {"auth": 7}}, "/keys"),
        (BROWSER | {"keys": KEYS | {"auth": to_text(b"short")}}, "/keys"),
        (BROWSER | {"keys": KEYS | {"p256dh": to_text(b"\4" * 65)}}, "/keys"),
        (APPLE | {"target": "xyz"}, "/target"),
        (APPLE | {"target": "ab" * 15}, "/target"),
        (APPLE | {"keys": KEYS}, "/keys"),
        (APPLE | {"app": "a b"}, "/app"),
        (APPLE | {"app": 7}, "/app"),
        (APPLE | {"environment": "test"}, "/environment"),
        (APPLE | {"locale": "?"}, "/locale"),
        (APPLE | {"timezone": "?"}, "/timezone"),
        ({"provider": "fcm", "target": "short"}, "/target"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(raw: Any, pointer: str) -> None:
    found = parse(raw)
    assert isinstance(found, tuple)
    assert [problem.pointer for problem in found] == [pointer]
