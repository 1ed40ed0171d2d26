"""What push senders have in common: tags, what a device is told, and how little of it can be left."""

from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from bus.outcome import Outcome, Rejected, Retry, Unavailable
from fanout.channels.delivery import Delivery, EmailAddress, Mail, Message, Push, PushTarget, Target
from fanout.channels.http import Broken, Forbidden, Unreached
from fanout.channels.push import SHORT_BYTES, Parcel, parcel, shortened, tag_of, told, unanswered

TARGET = PushTarget("d1", "fcm", "token")
HELLO = Push("Hello", "World")


def delivery(target: Target = TARGET, message: Message = HELLO, **event: Any) -> Delivery:
    about = Event(**{"id": "e1", "source": "shop", "type": "note", "created_at": 1.0, **event})
    return Delivery("0" * 32, "push", "alice", target, message, about)


def test_a_push_for_this_provider_is_taken() -> None:
    assert parcel(delivery(), "fcm") == Parcel(TARGET, HELLO)


@pytest.mark.parametrize(
    ("target", "message", "provider"),
    [
        (EmailAddress("a@b.example"), HELLO, "fcm"),
        (TARGET, Mail("s", "t"), "fcm"),
        (TARGET, HELLO, "apns"),
    ],
)
def test_anything_else_is_refused(target: Target, message: Message, provider: str) -> None:
    assert isinstance(parcel(delivery(target, message), provider), Rejected)


@given(st.text())
def test_a_tag_is_what_a_topic_may_be(collapse: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,32}", tag_of(collapse))
    assert tag_of(collapse) == tag_of(collapse)


@given(st.text(), st.text())
def test_different_words_have_different_tags(one: str, other: str) -> None:
    assert (tag_of(one) == tag_of(other)) is (one == other)


@pytest.mark.parametrize("plain", ["a", "orders-7_X", "x" * 32])
def test_what_is_a_topic_already_stays(plain: str) -> None:
    assert tag_of(plain) == plain


def test_what_a_device_is_told() -> None:
    full = Push("Hello", "World", "https://shop.example/7", {"order": 7})
    assert told(delivery(collapse_key="order-7"), full) == {
        "id": "e1",
        "tag": "order-7",
        "title": "Hello",
        "body": "World",
        "url": "https://shop.example/7",
        "data": {"order": 7},
    }
    plain = told(delivery(), HELLO)
    assert set(plain) == {"id", "tag", "title", "body"}
    assert plain["tag"] == tag_of("4.shop/e1")


def test_a_withdrawal_has_the_tag_of_what_it_takes_away() -> None:
    gone = told(delivery(), Push("", "", withdrawn=True))
    assert gone == {"withdrawn": "e1", "tag": told(delivery(), HELLO)["tag"]}


@given(st.text(max_size=400), st.text(max_size=400), st.one_of(st.none(), st.text(max_size=500)), st.text(max_size=128))
def test_what_is_shortened_is_short(title: str, body: str, url: str | None, id: str) -> None:
    short = shortened(told(delivery(id=id or "x"), Push(title, body, url, {"much": "more"})))
    assert len(orjson.dumps(short)) <= SHORT_BYTES
    assert set(short) <= {"id", "tag", "title", "body", "url"}
    assert short.get("url") in (None, url)
    assert title.startswith(short["title"].removesuffix("…"))


def test_the_worst_that_can_be_is_short_too() -> None:
    worst = told(delivery(id="\\" * 128), Push("\0" * 1_000, "\0" * 16_000, '"' * 400))
    assert len(orjson.dumps(shortened(worst))) <= SHORT_BYTES


def test_a_url_is_whole_or_not_there() -> None:
    for length, there in ((400, True), (401, False)):
        assert ("url" in shortened(told(delivery(), Push("", "", "u" * length)))) is there
    assert shortened(told(delivery(), Push("a" * 121, "b")))["title"] == "a" * 119 + "…"


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (Unreached("no connection"), Unavailable("no connection")),
        (Broken("no answer in time"), Retry("no answer in time")),
        (Forbidden("the address is not public"), Rejected("not sent: the address is not public")),
    ],
)
def test_no_answer(result: Unreached | Broken | Forbidden, outcome: Outcome) -> None:
    assert unanswered(result) == outcome
