"""What follows from all that is known of a job at one moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from bus.codec import encode_content
from bus.event import Event
from bus.outcome import Cancelled, Deferred, Done, Expired, Gone, Outcome, Rejected, Retry, Skipped
from bus.people.categories import Category
from bus.people.device_store import Opened
from bus.people.devices import Device
from bus.people.preferences import Preferences, parse
from bus.people.profile import Contacts, Webhook
from fanout.channels.delivery import EmailAddress, HookTarget, PhoneNumber, PushTarget
from fanout.deliver.case import HOPELESS, Body, Case, bodies, contact, given_up, judge, preferences, push_target
from fanout.job import Job, Kind

NOW = 1_800_000_000.0
EVENT = Event(id="e1", source="shop", type="note", created_at=NOW, title="t")
OTHER = replace(EVENT, id="e2")
JOB = Job("0" * 32, EVENT.ref, "alice", offset=7, unless="acked")
HERE = Body(encode_content(EVENT), False, b"")
GONE = Body(b"", True, b"")
PLAIN = Category("")


def case(**changes: Any) -> Case:
    given: dict[str, Any] = {
        "job": JOB,
        "channel": "email",
        "locale": "",
        "zone": "",
        "name": "Alice",
        "preferences": Preferences(),
        "withdrawn": False,
        "acked": b"",
        "read": False,
        "target": b"sealed",
        "gone": b"",
        "bodies": (HERE,),
    }
    return Case(**(given | changes))


def prefer(raw: object) -> Preferences:
    chosen = parse(raw)
    assert isinstance(chosen, Preferences)
    return chosen


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, None),
        ({"acked": b"1-6,8-9"}, None),
        ({"acked": b"1-7"}, Cancelled("acked")),
        ({"read": True}, Cancelled("read")),
        ({"withdrawn": True}, Cancelled("withdrawn")),
        ({"bodies": (GONE,)}, Cancelled("withdrawn")),
        ({"bodies": (Body(b"", False, b""),)}, None),
        ({"target": b""}, Skipped("no target")),
        ({"gone": b"sealed"}, Skipped("no target")),
        ({"gone": b"an earlier one"}, None),
        ({"preferences": prefer({"channels": {"email": False}})}, Skipped("channel off")),
        ({"job": replace(JOB, expires_at=NOW)}, Expired()),
        ({"job": replace(JOB, expires_at=NOW + 1)}, None),
        ({"job": replace(JOB, offset=0), "acked": b"0-7"}, None),
        ({"channel": "push", "target": b""}, Skipped("no target")),
    ],
)
def test_may_it_go(changes: dict[str, Any], outcome: Outcome | None) -> None:
    assert judge(case(**changes), PLAIN, "UTC", NOW) == outcome


@pytest.mark.parametrize("content", [b"", b"no JSON"])
def test_what_is_no_longer_kept_is_about_nothing(content: bytes) -> None:
    assert case(bodies=(Body(content, False, b""),)).events == ()


def test_quiet_hours_are_those_of_where_the_person_is() -> None:
    quiet = prefer({"quiet_hours": {"from": "08:00", "to": "10:00", "channels": ["email"]}})
    at_eight_utc = 1_799_999_999.0 // 86_400 * 86_400 + 8 * 3_600
    asked = case(preferences=quiet)
    held = judge(asked, PLAIN, "UTC", at_eight_utc)
    assert held == Deferred(7200.0, f"quiet hours until {at_eight_utc + 7200:.0f}")
    assert judge(asked, PLAIN, "Asia/Tokyo", at_eight_utc) is None
    elsewhere = case(preferences=quiet, zone="Asia/Tokyo")
    assert judge(elsewhere, PLAIN, "UTC", at_eight_utc) is None


def test_a_device_that_is_gone_is_no_target() -> None:
    device = Device("d1", "fcm", "sealed")
    there = case(channel="push", device=device)
    assert judge(there, PLAIN, "UTC", NOW) is None
    assert judge(replace(there, device=device.gone("410", NOW)), PLAIN, "UTC", NOW) == Skipped("no target")


def test_what_takes_a_push_back_asks_only_whether_there_is_a_device() -> None:
    back = case(job=replace(JOB, kind=Kind.WITHDRAW), channel="push", withdrawn=True, read=True, bodies=(GONE,))
    assert judge(back, PLAIN, "UTC", NOW) == Skipped("no target")
    assert judge(replace(back, device=Device("d1", "fcm", "sealed")), PLAIN, "UTC", NOW) is None


def test_what_is_left_of_a_withdrawn_event() -> None:
    left = orjson.dumps({"id": "e1", "source": "shop", "type": "note", "time": "2027-01-15T08:00:00Z"})
    back = case(job=replace(JOB, kind=Kind.WITHDRAW), bodies=(Body(b"", True, left), Body(b"", True, b"")))
    (event,) = back.events
    assert (event.ref, event.title) == (EVENT.ref, None)


def test_a_digest_is_of_what_is_left() -> None:
    there = Body(encode_content(OTHER), False, b"")
    digest = case(job=replace(JOB, kind=Kind.DIGEST), withdrawn=True, bodies=(GONE, there))
    assert [event.id for event in digest.events] == ["e2"]
    assert judge(digest, PLAIN, "UTC", NOW) is None
    assert judge(replace(digest, bodies=(GONE, GONE)), PLAIN, "UTC", NOW) == Cancelled("withdrawn")


def test_where_it_goes() -> None:
    assert contact(Contacts(email="a@b.example"), "Alice") == EmailAddress("a@b.example", "Alice")
    assert contact(Contacts(phone="+4930123456"), "Alice") == PhoneNumber("+4930123456")
    hook = Webhook("https://h.example/", "whsec_x")
    assert contact(Contacts(webhook=hook), "") == HookTarget("https://h.example/", "whsec_x")
    assert contact(Contacts(), "") is None


def test_what_a_person_chose_is_read_from_their_document() -> None:
    assert preferences(b"") == Preferences()
    assert preferences(b'{"locale":"de"}').locale == "de"


def test_where_a_push_goes() -> None:
    device = Device("d1", "webpush", "sealed", "sealed", "app", "prod", last_registered_at=5.0)
    wanted = PushTarget("d1", "webpush", "https://p.example/", {"auth": "a"}, "app", "prod", 5.0)
    assert push_target(device, Opened("https://p.example/", '{"auth":"a"}')) == wanted
    assert push_target(device, Opened("https://p.example/", "")).keys == {}


def test_bodies_as_the_script_says_them() -> None:
    assert bodies([[b"e", 0, b""], [b"", 1, b"c"]]) == (Body(b"e", False, b""), Body(b"", True, b"c"))
    apart = bodies([[b"", 0, b""], [b"", 1, b"c"]], [b"e", None])
    assert apart == (Body(b"e", False, b""), Body(b"", True, b"c"))
    assert "sealed" not in repr(case())


@pytest.mark.parametrize("failing", [b"", b"soon", b"9" * 16, b"%d" % (NOW - HOPELESS + 1)])
def test_a_target_that_fails_has_its_time(failing: bytes) -> None:
    assert given_up(case(failing=failing), Retry("500"), NOW) == Retry("500")


def test_then_it_is_given_up_but_for_what_is_no_failure_of_its() -> None:
    failed = case(failing=b"%d" % (NOW - HOPELESS))
    assert given_up(failed, Retry("500"), NOW) == Gone("nothing but failures for 5 days; last: 500")
    for outcome in (Done(), Rejected("x"), Expired()):
        assert given_up(failed, outcome, NOW) == outcome
