"""What a message says where no template says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.event import Event
from fanout.wording import MAX_LINE, MAX_LISTED, Content, body, facts, lines, link, one_line, title, whole


def event(**fields: Any) -> Event:
    return Event(**{"id": "e1", "source": "shop", "type": "order.shipped", "created_at": 7.0, **fields})


def content(*events: Event, **more: Any) -> Content:
    return Content(events or (event(),), "alice", **more)


@pytest.mark.parametrize(
    ("fields", "head", "rest"),
    [
        ({"title": "Sent", "body": "On its way"}, "Sent", "On its way"),
        ({"title": "Sent"}, "Sent", ""),
        ({"body": "First\nSecond"}, "First", "First\nSecond"),
        ({}, "order.shipped", ""),
        ({"title": "a\r\nBcc: x@evil.example", "body": "b\r\nc\0"}, "a Bcc: x@evil.example", "b\nc"),
    ],
)
def test_title_and_body_are_the_producers(fields: dict[str, str], head: str, rest: str) -> None:
    one = content(event(**fields))
    assert (title(one), body(one)) == (head, rest)


def test_one_text_does_not_say_things_twice() -> None:
    assert whole(content(event(title="Sent", body="On its way"))) == "Sent\nOn its way"
    assert whole(content(event(body="On its way"))) == "On its way"
    assert whole(content(event(title="Sent"))) == "Sent"


def test_a_digest_names_each_event() -> None:
    several = content(*(event(title=f"Nr {n}") for n in range(3)))
    assert title(several) == "Nr 2 (+2)"
    assert body(several) == "- Nr 0\n- Nr 1\n- Nr 2"
    many = body(content(*(event(title=f"Nr {n}") for n in range(MAX_LISTED + 1)))).split("\n")
    assert (many[:2], many[-1], len(many)) == (["…", "- Nr 1"], f"- Nr {MAX_LISTED}", MAX_LISTED + 1)


def test_the_facts_are_plain_values() -> None:
    found = facts(
        content(
            event(title="a", data={"url": "https://x.example/"}), event(), name="Al", unsubscribe="https://x.example/u"
        ),
        "pt-BR",
        "pt",
    )
    assert found == {
        "event": found["events"][1],
        "events": [
            {
                "id": "e1",
                "type": "order.shipped",
                "category": "",
                "created_at": 7.0,
                "title": "a",
                "body": "",
                "data": {"url": "https://x.example/"},
                "link": "https://x.example/",
            },
            {
                "id": "e1",
                "type": "order.shipped",
                "category": "",
                "created_at": 7.0,
                "title": "",
                "body": "",
                "data": {},
                "link": "",
            },
        ],
        "count": 2,
        "title": "",
        "body": "",
        "data": {},
        "link": "",
        "user": {"id": "alice", "name": "Al"},
        "locale": "pt-BR",
        "language": "pt",
        "timezone": "UTC",
        "unsubscribe": "https://x.example/u",
    }
    assert facts(content(), "en", "")["unsubscribe"] == ""


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"url": "https://x.example/a"}, "https://x.example/a"),
        ({"url": "HTTP://x.example"}, "HTTP://x.example"),
        ({"url": "javascript:alert(1)"}, ""),
        ({"url": "https://x.example/\r\nBcc: a"}, ""),
        ({"url": "https://x.example/a b"}, ""),
        ({"url": 7}, ""),
        ({}, ""),
        (["url"], ""),
        (None, ""),
    ],
)
def test_a_click_leads_to_web_addresses_only(data: Any, found: str) -> None:
    assert link(event(data=data)) == found


def test_one_line_is_one_line() -> None:
    assert one_line(" a\t b\r\n\u2028c\u0085d\0e ") == "a b c d e"
    assert one_line("pay \u202egro.live") == "pay gro.live"
    assert one_line("👩‍👩‍👧 שלום") == "👩‍👩‍👧 שלום"
    assert one_line("a" * 600) == "a" * (MAX_LINE - 1) + "…"


@given(st.text())
def test_tidied_text_carries_no_controls(text: str) -> None:
    assert all(c.isprintable() or ord(c) > 0x9F for c in one_line(text))
    assert len(one_line(text)) <= MAX_LINE
    assert not set(lines(text)) & {chr(n) for n in (*range(9), *range(11, 32), *range(127, 160))}
