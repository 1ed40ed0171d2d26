"""The opening handshake: what is in order is accepted as the RFC's own example says, all else gets its status."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.handshake import (
    MAX_FIELDS,
    Refusal,
    Upgrade,
    check,
    has_bare_line_feed,
    is_host,
    read_request_line,
)

LINE = b"GET /connection/websocket HTTP/1.1"
GOOD = {
    b"Host": b"server.example.com",
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version": b"13",
}


def head(line: bytes = LINE, extra: bytes = b"", **changes: bytes | None) -> bytes:
    """A handshake with some fields changed, or left out (None); underscores stand for hyphens."""
    fields = dict(GOOD)
    for name, value in changes.items():
        key = next((known for known in fields if known.lower() == name.replace("_", "-").encode()), name.encode())
        key = key.replace(b"_", b"-")
        if value is None:
            del fields[key]
        else:
            fields[key] = value
    return line + b"\r\n" + b"".join(b"%b: %b\r\n" % field for field in fields.items()) + extra + b"\r\n"


def answer(data: bytes) -> Upgrade | Refusal:
    request = read_request_line(data)
    assert request is not None
    return check(request, data)


def accepted(data: bytes) -> Upgrade:
    verdict = answer(data)
    assert isinstance(verdict, Upgrade), verdict
    return verdict


# What is in order --------------------------------------------------------------------------------------------------


def test_the_example_of_the_rfc() -> None:
    upgrade = accepted(head(origin=b"http://example.com"))
    assert (upgrade.host, upgrade.origin) == ("server.example.com", "http://example.com")
    assert upgrade.response == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    )


@pytest.mark.parametrize(
    "data",
    [
        head(LINE.replace(b" HTTP", b"?token=x&cf_protocol_version=v2 HTTP")),
        head(upgrade=b"WebSocket", connection=b"keep-alive, UPGRADE"),
        head(upgrade=b"h2c , websocket"),
        head(connection=None, extra=b"Connection: keep-alive\r\nConnection: Upgrade\r\n"),
        head(host=b"[::1]:8000"),
        head(host=b"xn--bcher-kva.example:443"),
        head(content_length=b"0"),
        head(user_agent=b"caf\xc3\xa9 \xff\t!"),
        head(sec_websocket_extensions=b";;==server_max_window_bits=8,,permessage-deflate"),
        head(extra=b"Sec-WebSocket-Key:\r\n", sec_websocket_key=None).replace(
            b"Key:\r\n", b"Key:\t dGhlIHNhbXBsZSBub25jZQ== \t\r\n"
        ),
    ],
)
def test_what_is_in_order_is_accepted(data: bytes) -> None:
    assert accepted(data).response.startswith(b"HTTP/1.1 101 ")


def test_the_absolute_form_brings_its_own_host() -> None:
    line = b"GET http://other.example:81/connection/websocket?x HTTP/1.1"
    assert accepted(head(line)).host == "other.example:81"
    assert read_request_line(head(b"GET ftp://other.example/connection/websocket HTTP/1.1")) is None
    assert answer(head(b"GET ws://a b/connection/websocket HTTP/1.1".replace(b"a b", b"a@b"))) == answer(
        head(host=b"/")
    )


def test_an_absent_origin_is_not_a_null_one() -> None:
    assert accepted(head()).origin is None
    assert accepted(head(origin=b"null")).origin == "null"


@pytest.mark.parametrize(
    ("offer", "answered"),
    [
        (b"", b""),
        (b"centrifuge-json", b"centrifuge-json"),
        (b"centrifuge-protobuf , centrifuge-json", b"centrifuge-json"),
        (b"graphql-ws", b""),
        (b",,,", b""),
    ],
)
def test_subprotocols(offer: bytes, answered: bytes) -> None:
    response = accepted(head(sec_websocket_protocol=offer)).response
    assert (b"Sec-WebSocket-Protocol: " + answered in response) == bool(answered)
    assert (b"Protocol" in response.replace(b"Switching Protocols", b"")) == bool(answered)


def test_other_requests_are_for_the_application() -> None:
    for line in (
        b"GET / HTTP/1.1",
        b"GET /connection/websocket/ HTTP/1.1",
        b"GET /connection/websocket",
        b"GET  /connection/websocket HTTP/1.1",
        b"GET /connection/web%73ocket HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"CONNECT host:80 HTTP/1.1",
        b"",
    ):
        assert read_request_line(line + b"\r\n\r\n") is None


# What is not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (head(LINE.replace(b"GET", b"POST")), 405, "GET"),
        (head(LINE.replace(b"GET", b"HEAD")), 405, "GET"),
        (head(LINE.replace(b"1.1", b"1.0")), 400, "HTTP/1.1"),
        (head(LINE.replace(b"1.1", b"1.2")), 400, "HTTP/1.1"),
        (head(host=None), 400, "Host"),
        (head(host=b""), 400, "Host"),
        (head(host=b"a/b?"), 400, "Host"),
        (head(host=b"user@a"), 400, "Host"),
        (head(extra=b"host: other\r\n"), 400, "host"),
        (head(extra=b"Origin: a\r\nOrigin: b\r\n"), 400, "origin"),
        (head(upgrade=None), 426, "WebSocket"),
        (head(upgrade=b"h2c"), 426, "WebSocket"),
        (head(connection=None), 426, "WebSocket"),
        (head(connection=b"close"), 426, "WebSocket"),
        (head(sec_websocket_version=None), 426, "13"),
        (head(sec_websocket_version=b"8"), 426, "13"),
        (head(sec_websocket_version=b"12"), 426, "13"),
        (head(sec_websocket_version=b"013"), 426, "13"),
        (head(extra=b"Sec-WebSocket-Version: 13\r\n"), 400, "more than one"),
        (head(sec_websocket_key=None), 400, "Key"),
        (head(sec_websocket_key=b""), 400, "Key"),
        (head(sec_websocket_key=b"c2hvcnQ="), 400, "Key"),
        (head(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZQ==="), 400, "Key"),
        (head(sec_websocket_key=b"dGhlIHNhbXBsZSBub25jZ!=="), 400, "Key"),
        (head(extra=b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "more than one"),
        (head(content_length=b"5"), 400, "body"),
        (head(extra=b"Content-Length: 0\r\nContent-Length: 5\r\n"), 400, "more than one"),
        (head(transfer_encoding=b"chunked"), 400, "body"),
        (head(extra=b"X: 1\r\n folded\r\n"), 400, "malformed"),
        (head(extra=b"X: 1\nY: 2\r\n"), 400, "malformed"),
        (head(extra=b"X: 1\rY: 2\r\n"), 400, "malformed"),
        (head(extra=b"X: a\x00b\r\n"), 400, "malformed"),
        (head(extra=b"X\xe9: 1\r\n"), 400, "malformed"),
        (head(extra=b"X : 1\r\n"), 400, "malformed"),
        (head(extra=b": 1\r\n"), 400, "malformed"),
        (head(extra=b"no colon\r\n"), 400, "malformed"),
        (head(LINE.replace(b" HTTP", b"?\x01 HTTP")), 400, "malformed"),
        (LINE + b"\r\n\r\n", 400, "malformed"),
        (head(extra=b"X: 1\r\n" * MAX_FIELDS), 431, "large"),
        (head(sec_websocket_protocol=b"centrifuge-protobuf"), 400, "centrifuge-json"),
        (head(LINE.replace(b" HTTP", b"?format=protobuf HTTP")), 400, "JSON"),
        (head(LINE.replace(b" HTTP", b"?a=b&cf_protocol=protobuf HTTP")), 400, "JSON"),
        (head(LINE.replace(b" HTTP", b"?cf_ws_frame_ping_pong=true HTTP")), 400, "pings"),
    ],
)
def test_what_is_not_gets_its_status(data: bytes, status: int, word: str) -> None:
    verdict = answer(data)
    assert isinstance(verdict, Refusal)
    assert verdict.status == status
    assert word in verdict.detail


def test_a_refusal_is_a_problem_in_json() -> None:
    verdict = answer(head(sec_websocket_version=b"8"))
    assert isinstance(verdict, Refusal)
    top, _, body = verdict.response().partition(b"\r\n\r\n")
    assert top.startswith(b"HTTP/1.1 426 Upgrade Required\r\n")
    assert b"\r\nSec-WebSocket-Version: 13\r\n" in top
    assert b"\r\nContent-Type: application/problem+json\r\n" in top
    assert b"\r\nContent-Length: %d\r\n" % len(body) in top
    assert orjson.loads(body)["status"] == 426
    assert b"\r\nAllow: GET\r\n" in Refusal(405, "", b"Allow: GET\r\n").response()


def test_bare_line_feeds() -> None:
    assert has_bare_line_feed(b"GET / HTTP/1.1\nHost: a\r\n")
    assert has_bare_line_feed(b"\n")
    assert not has_bare_line_feed(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")


def test_hosts() -> None:
    assert all(map(is_host, (b"a", b"a:1", b"a:", b"[::1]", b"[2001:db8::1]:80", b"1.2.3.4:8000", b"a_b.c-d")))
    assert not any(
        map(is_host, (b"", b":80", b"a b", b"a/b", b"a?b", b"a#b", b"[::1", b"::1", b"a:b", b"b\xc3\xbccher"))
    )


@given(st.integers(0, len(head()) - 5), st.binary(max_size=3))
def test_no_damage_raises(at: int, put: bytes) -> None:
    data = head(origin=b"https://a.example")
    damaged = data[:at] + put + data[at + 1 : -4].replace(b"\r\n\r\n", b"") + b"\r\n\r\n"
    request = read_request_line(damaged)
    if request is not None:
        assert isinstance(check(request, damaged), Upgrade | Refusal)
