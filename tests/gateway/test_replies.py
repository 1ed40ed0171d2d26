"""Replies and pushes: what clients read is there, and bytes are joined, not parsed."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import replies
from gateway.wire.codes import Disconnect, Error, Unsubscribed


def test_topics_and_channels() -> None:
    assert replies.channel_of("@alice") == "inbox"
    assert replies.channel_of("news:sport") == "news:sport"
    assert replies.topic_of("inbox", "alice") == "@alice"
    assert replies.topic_of("news:sport", "alice") == "news:sport"


def test_a_reply_always_has_its_result() -> None:
    assert replies.reply(3, "unsubscribe", {}) == b'{"id":3,"unsubscribe":{}}'


def test_raw_json_is_put_in_as_it_is() -> None:
    assert replies.reply(3, "rpc", {"data": replies.raw(b'{"b": 1}')}) == b'{"id":3,"rpc":{"data":{"b": 1}}}'
    assert replies.reply(3, "rpc", {"data": replies.raw(b"")}) == b'{"id":3,"rpc":{"data":null}}'


def test_errors() -> None:
    assert orjson.loads(replies.error(7, Error.PERMISSION_DENIED)) == {
        "id": 7,
        "error": {"code": 103, "message": "permission denied"},
    }
    assert orjson.loads(replies.error(8, Error.INTERNAL))["error"]["temporary"] is True


@pytest.mark.parametrize(
    ("content", "offset", "shown"),
    [
        (b'"data":{"x":1}', 5, b'{"data":{"x":1},"offset":5}'),
        (b'"data":{"x":1}', 0, b'{"data":{"x":1}}'),
        (b"", 5, b'{"data":null,"removed":true,"offset":5}'),
        (b"", 0, b'{"data":null,"removed":true}'),
    ],
)
def test_a_publication(content: bytes, offset: int, shown: bytes) -> None:
    assert replies.publication(content, offset) == shown
    assert replies.push_publication("a:b", content, offset) == b'{"push":{"channel":"a:b","pub":' + shown + b"}}"


def test_a_list_of_publications() -> None:
    assert orjson.dumps(replies.publications([])) == b"[]"
    listed = orjson.loads(orjson.dumps(replies.publications([(1, b'"data":1'), (2, b"")])))
    assert listed == [{"data": 1, "offset": 1}, {"data": None, "removed": True, "offset": 2}]


def test_pushes() -> None:
    info = replies.client_info("alice", "c1", b'{"name":"A"}')
    assert orjson.loads(info) == {"user": "alice", "client": "c1", "conn_info": {"name": "A"}}
    assert orjson.loads(replies.client_info("alice", "c1", b"")) == {"user": "alice", "client": "c1"}
    for kind, push in (("join", replies.push_join), ("leave", replies.push_leave)):
        assert orjson.loads(push("a:b", info)) == {"push": {"channel": "a:b", kind: {"info": orjson.loads(info)}}}
    assert orjson.loads(replies.push_unsubscribe("a:b", Unsubscribed.EXPIRED.value)) == {
        "push": {"channel": "a:b", "unsubscribe": {"code": 2501, "reason": "subscription expired"}}
    }
    assert orjson.loads(replies.push_disconnect(Disconnect.SLOW.value)) == {
        "push": {"disconnect": {"code": 3008, "reason": "slow"}}
    }


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, 2**53 - 1))
def test_any_name_is_escaped(channel: str, offset: int) -> None:
    push = orjson.loads(replies.push_publication(channel, b'"data":1', offset))["push"]
    assert push["channel"] == channel
    assert push["pub"].get("offset", 0) == offset
