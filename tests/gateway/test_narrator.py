"""What plain event streams say, read as a browser does: cut anywhere and resumed, nothing is lost or told twice."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from bus.cursor import Cursor
from gateway.wire.codes import Disconnect
from gateway.wire.eventsource import resume
from gateway.wire.narrator import RETRY_MS, Narrator, farewell
from tests.gateway.eventsource_reader import Browser, Received

TOPICS = ("inbox", "news:sport")


def read(*said: bytes) -> Browser:
    browser = Browser()
    for part in said:
        browser.feed(part)
    return browser


def shown(browser: Browser) -> list[tuple[str, object]]:
    return [(one.type, orjson.loads(one.data)) for one in browser.events]


def body(number: int) -> bytes:
    return b'"data":%d' % number


def test_a_new_stream_is_ready_when_all_topics_are_joined() -> None:
    narrator = Narrator(TOPICS, {})
    assert narrator.joined("news:sport", Cursor("s", 7), False, ()) == b""
    browser = read(narrator.joined("inbox", Cursor("i", 3), False, ()))
    assert shown(browser) == [("tocsin.ready", {"topics": ["inbox", "news:sport"]})]
    assert browser.retry == RETRY_MS
    assert resume(browser.last_event_id, TOPICS) == {"inbox": Cursor("i", 3), "news:sport": Cursor("s", 7)}


def test_what_was_missed_comes_before_ready_and_carries_its_own_position() -> None:
    narrator = Narrator(["inbox"], {"inbox": Cursor("i", 3)})
    browser = read(narrator.joined("inbox", Cursor("i", 5), True, ((4, body(4)), (5, body(5)))))
    assert shown(browser) == [
        ("message", {"topic": "inbox", "offset": 4, "data": 4}),
        ("message", {"topic": "inbox", "offset": 5, "data": 5}),
        ("tocsin.ready", {"topics": ["inbox"]}),
    ]
    assert resume(browser.events[0].last_event_id, ["inbox"]) == {"inbox": Cursor("i", 4)}
    assert resume(browser.last_event_id, ["inbox"]) == {"inbox": Cursor("i", 5)}


def test_a_topic_that_is_not_joined_yet_keeps_the_place_the_client_had() -> None:
    narrator = Narrator(TOPICS, {"inbox": Cursor("i", 3), "news:sport": Cursor("s", 9)})
    browser = read(narrator.joined("inbox", Cursor("i", 4), True, ((4, body(4)),)))
    assert resume(browser.last_event_id, TOPICS) == {"inbox": Cursor("i", 4), "news:sport": Cursor("s", 9)}


def test_what_cannot_be_recovered_is_said_so() -> None:
    narrator = Narrator(["inbox"], {"inbox": Cursor("old", 3)})
    browser = read(narrator.joined("inbox", Cursor("new", 1), False, ()))
    assert shown(browser)[0] == ("tocsin.resync", {"topic": "inbox"})
    assert resume(browser.events[0].last_event_id, ["inbox"]) == {"inbox": Cursor("new", 1)}


def test_joining_again_says_only_what_is_new() -> None:
    narrator = Narrator(["inbox"], {"inbox": Cursor("i", 3)})
    narrator.joined("inbox", Cursor("i", 3), True, ())
    assert shown(read(narrator.joined("inbox", Cursor("j", 0), False, ()))) == [("tocsin.resync", {"topic": "inbox"})]


def test_an_ephemeral_publication_has_no_offset_and_does_not_move_the_position() -> None:
    narrator = Narrator(["inbox"], {})
    ready = read(narrator.joined("inbox", Cursor("i", 3), False, ()))
    browser = read(narrator.publication("inbox", 0, b'"data":{"a":1},"info":{"user":"bob"}'))
    assert shown(browser) == [("message", {"topic": "inbox", "data": {"a": 1}, "info": {"user": "bob"}})]
    assert browser.last_event_id == ready.last_event_id


def test_a_withdrawn_publication_is_not_told_but_counted() -> None:
    narrator = Narrator(["inbox"], {})
    narrator.joined("inbox", Cursor("i", 3), False, ())
    assert narrator.publication("inbox", 4, b"") == b""
    browser = read(narrator.publication("inbox", 5, body(5)))
    assert resume(browser.last_event_id, ["inbox"]) == {"inbox": Cursor("i", 5)}


def test_the_end_says_why() -> None:
    [end] = read(farewell(Disconnect.SHUTDOWN.value)).events
    assert end == Received('{"code":3001,"reason":"shutdown"}', "tocsin.disconnect", "")


def test_a_client_that_comes_back_in_vain_does_so_seldom() -> None:
    assert read(farewell(Disconnect.PERMISSION_DENIED.value)).retry == 60_000
    assert read(farewell(Disconnect.SHUTDOWN.value)).retry is None


@given(st.data())
def test_a_client_that_breaks_off_anywhere_misses_nothing(data: st.DataObject) -> None:
    """The stream is cut at any byte, again and again; each time the client comes back with the id it has."""
    logs = {topic: data.draw(st.integers(0, 6), label=topic) for topic in TOPICS}
    told: dict[str, list[int]] = {topic: [] for topic in TOPICS}
    id = ""
    for last in (False, False, True):
        cursors = (resume(id, TOPICS) or {}) if id else {topic: Cursor("e", 0) for topic in TOPICS}
        narrator = Narrator(TOPICS, cursors)
        stream = b""
        for topic in data.draw(st.permutations(TOPICS)):
            since = cursors[topic].offset
            missed = [(n, body(n)) for n in range(since + 1, logs[topic] + 1)]
            stream += narrator.joined(topic, Cursor("e", logs[topic]), True, missed)
        browser = read(stream if last else stream[: data.draw(st.integers(0, len(stream)))])
        for kind, said in shown(browser):
            if kind == "message":
                assert isinstance(said, dict)
                told[said["topic"]].append(said["offset"])
        id = browser.last_event_id or id
    assert told == {topic: list(range(1, top + 1)) for topic, top in logs.items()}
