"""Event streams as bytes: against the grammar and the parsing rules of WHATWG HTML §9.2, and against `httpx-sse`."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from bus.cursor import MAX_OFFSET, Cursor
from gateway.wire.eventsource import HEARTBEAT, MAX_ID, Position, event, resume
from tests.gateway.eventsource_reader import GRAMMAR, Browser, Received


def normal(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


text = st.text(st.characters(codec="utf-8"))
nasty = st.text(st.sampled_from("\r\n\0: \ufeffxdataeventidretry")) | text
one_line = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"))
cursors = st.builds(Cursor, st.text(st.characters(codec="utf-8"), min_size=1, max_size=40), st.integers(0, MAX_OFFSET))
topics = st.text(st.characters(codec="utf-8"), min_size=1, max_size=255)


# Events --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(nasty, one_line, one_line), max_size=5))
def test_a_browser_receives_exactly_what_was_composed(sent: list[tuple[str, str, str]]) -> None:
    stream = b"".join(event(data.encode(), name=name, id=id) for data, name, id in sent)
    assert GRAMMAR.fullmatch(stream.decode())
    browser = Browser()
    browser.feed(stream)
    last, expected = "", []
    for data, name, id in sent:
        last = id or last
        expected.append(Received(normal(data), name or "message", last))
    assert browser.events == expected


@given(nasty, one_line, one_line)
def test_httpx_sse_agrees(data: str, name: str, id: str) -> None:
    lines, decoder = SSELineDecoder(), SSEDecoder()
    composed = event(data.encode(), name=name, id=id, retry=1500)
    [received] = [one for line in lines.decode(composed.decode()) if (one := decoder.decode(line))]
    assert (received.data, received.event, received.id) == (normal(data), name or "message", id)
    assert received.retry == 1500


def test_data_cannot_forge_a_field() -> None:
    assert event(b"x\n\nevent: admin\rdata: y\r\nid: 9") == (
        b"data: x\ndata: \ndata: event: admin\ndata: data: y\ndata: id: 9\n\n"
    )


@pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "\r\n"])
def test_a_name_or_id_that_would_break_the_line_is_a_bug(value: str) -> None:
    with pytest.raises(ValueError, match="event"):
        event(b"x", name=value)
    with pytest.raises(ValueError, match="id"):
        event(b"x", id=value)


def test_fields_that_are_not_given_are_not_sent() -> None:
    assert event(b"{}") == b"data: {}\n\n"
    assert event(b"{}", name="n", id="i", retry=3) == b"retry: 3\nid: i\nevent: n\ndata: {}\n\n"


def test_a_heartbeat_is_seen_by_nobody() -> None:
    browser = Browser()
    browser.feed(event(b"x", id="7") + HEARTBEAT * 3)
    assert [one.data for one in browser.events] == ["x"]
    assert browser.last_event_id == "7"
    assert GRAMMAR.fullmatch(HEARTBEAT.decode())


# Positions -----------------------------------------------------------------------------------------------------------


@given(st.dictionaries(topics, cursors, min_size=1, max_size=5))
def test_a_position_comes_back_through_header_line_and_query(at: dict[str, Cursor]) -> None:
    position = Position()
    for topic, cursor in at.items():
        position.move(topic, cursor)
    id = str(position)
    assert re.fullmatch(r"[A-Za-z0-9._~-]*", id)
    assert quote(id, safe="") == id
    assert parse_qs("last_event_id=" + id) == {"last_event_id": [id]}
    assert resume(id, at) == at


@given(cursors, st.integers(0, MAX_OFFSET))
def test_a_position_advances_within_its_epoch(start: Cursor, offset: int) -> None:
    position = Position()
    position.move("news:sport", start)
    position.advance("news:sport", offset)
    assert resume(str(position), ["news:sport"]) == {"news:sport": Cursor(start.epoch, offset)}


def test_a_topic_without_an_epoch_has_no_place() -> None:
    position = Position()
    position.move("news:sport", Cursor("", 0))
    position.advance("news:sport", 4)
    assert str(position) == ""
    position.move("inbox", Cursor("e", 1))
    position.move("inbox", Cursor("", 1))
    assert str(position) == ""


def test_only_the_topics_asked_for_are_resumed() -> None:
    position = Position()
    for topic in ("inbox", "news:sport", "news:film"):
        position.move(topic, Cursor("e1", 5))
    assert resume(str(position), ["news:film", "news:new"]) == {"news:film": Cursor("e1", 5)}


@pytest.mark.parametrize(
    "id",
    [
        "",
        "1",
        "aaaaaaaa.5.e~",
        "aaaaaaaa.-1.e",
        "aaaaaaaa.٣.e",
        "aaaaaaaa.1e3.e",
        "aaaaaaaa.5.",
        "AAAAAAAA.5.e",
        "aaaaaaaa.5.e\n",
        f"aaaaaaaa.{MAX_OFFSET + 1}.e",
        "aaaaaaaa.5._FF",
        "aaaaaaaa.5.é",
        "aaaaaaaa.5.e f",
        "a" * (MAX_ID + 1),
    ],
)
def test_what_is_not_ours_is_not_a_position(id: str) -> None:
    assert resume(id, ["news:sport"]) is None


@given(text)
def test_nothing_that_a_client_sends_raises(id: str) -> None:
    resume(id, ["news:sport"])


def test_a_stray_escape_sign_is_read_as_itself() -> None:
    key = str(_at("inbox", Cursor("e", 1))).split(".")[0]
    assert resume(f"{key}.1._zz", ["inbox"]) == {"inbox": Cursor("_zz", 1)}


def _at(topic: str, cursor: Cursor) -> Position:
    position = Position()
    position.move(topic, cursor)
    return position


def test_a_full_set_stays_within_what_proxies_allow_for_a_header_line() -> None:
    position = Position()
    for n in range(33):
        position.move(f"news:{n}" + "x" * 240, Cursor("0123456789abcdef", MAX_OFFSET))
    assert len(str(position)) < 2_048
