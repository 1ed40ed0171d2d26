"""Logs are JSON lines with ids; what people sent, their tokens and their addresses cannot get into them."""

from __future__ import annotations

import ast
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import Refused
from bus.log import ACCESS, FIELDS, MAX_VALUE, JsonLines, configure, scrub

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
TICKET = "tkt_Zm9vYmFyYmF6"
ROOT = Path(__file__).parents[2]


class Lines:
    """What was logged."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    @property
    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.text.splitlines()[-1])
        return found


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    found = Lines()
    configure("info", role="gateway", node="n1", stream=found.stream)
    yield found
    root.handlers[:] = handlers
    root.setLevel(level)


log = logging.getLogger("gateway.test")


def test_a_line_is_one_json_object(lines: Lines) -> None:
    log.info(
        "an event\nwas %s", "buried", extra={"event": "e-1", "partition": 3, "seconds": 0.5, "reason": "why\r\nnot"}
    )
    assert lines.text.count("\n") == 1
    last = lines.last
    assert last.pop("time").endswith("+00:00")
    assert last == {
        "level": "info",
        "logger": "gateway.test",
        "role": "gateway",
        "node": "n1",
        "message": "an event\nwas buried",
        "event": "e-1",
        "partition": 3,
        "seconds": 0.5,
        "reason": "why\r\nnot",
    }


def test_the_level_is_kept(lines: Lines) -> None:
    log.debug("nothing")
    assert lines.text == ""
    with pytest.raises(ValueError, match="LOUD"):
        configure("loud", role="gateway", stream=lines.stream)


def test_a_line_names_its_node_only_where_there_is_one() -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", None, None)
    assert "node" not in json.loads(JsonLines("fanout").format(record))


# What must not get in --------------------------------------------------------------------------------------------

SECRETS = [
    TOKEN,
    TICKET,
    "alice@example.com",
    "alice.b+c@mail.example.co.uk",
    "203.0.113.7",
    "203.0.113.7:51234",
    "2001:db8:85a3:0:0:8a2e:370:7334",
    "2001:db8::8a2e:370:7334",
    "::ffff:203.0.113.7",
    "fe80::1",
    "+491701234567",
    "hunter2",
]
SENTENCES = {
    "hunter2": "connecting to redis://user:{}@redis.internal:6379/0",
    TOKEN: "bad token {} from client",
}


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_the_text_is_scrubbed(lines: Lines, secret: str) -> None:
    sentence = SENTENCES.get(secret, "got {} from somebody")
    log.warning(sentence.format(secret))
    log.warning(sentence.replace("{}", "%s"), secret)
    log.warning("failed", extra={"reason": sentence.format(secret)})
    assert len(lines.text.splitlines()) == 3
    assert secret not in lines.text
    for line in lines.text.splitlines():
        assert "[" in line


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer s3cr3t",
        "authorization: basic dXNlcjpwYXNz",
        "GET /sse?ticket=s3cr3t&topics=a HTTP/1.1",
        '"GET /connection/websocket?token=s3cr3t"',
        "http://host/path?x=s3cr3t",
    ],
)
def test_credentials_and_queries_are_scrubbed(text: str) -> None:
    shown = scrub(text)
    assert "s3cr3t" not in shown
    assert "dXNlcjpwYXNz" not in shown
    assert shown.split()[0] == text.split()[0] or "?[query]" in shown


@pytest.mark.parametrize(
    "text",
    [
        "node is up",
        "12:30:45 started in 0.5 s",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "version 8.1.0 of redis",
        "1700000000000-0",
    ],
)
def test_what_is_harmless_stays(text: str) -> None:
    assert scrub(text) == text


def test_only_known_fields_are_written(lines: Lines) -> None:
    log.info(
        "accepted",
        extra={"event": "e-1", "payload": {"card": "4111"}, "token": TOKEN, "body": "hello", "users": ["alice"]},
    )
    assert set(lines.last) == {"time", "level", "logger", "role", "node", "message", "event"}
    for text in ("4111", "eyJ", "hello", "alice"):
        assert text not in lines.text


def test_a_field_is_never_a_document(lines: Lines) -> None:
    log.info("x", extra={"event": "e" * 100_000, "reason": "no " * 100_000, "count": True})
    assert len(lines.last["event"]) == len(lines.last["reason"]) == MAX_VALUE
    assert lines.last["count"] is True


def test_the_text_of_a_foreign_error_is_not_written(lines: Lines) -> None:
    try:
        {}["the secret of alice"]
    except KeyError:
        log.exception("a bug")
    error = lines.last["error"]
    assert error["type"] == "builtins.KeyError"
    assert error["where"][-1].endswith("test_the_text_of_a_foreign_error_is_not_written")
    assert "alice" not in lines.text


def test_the_text_of_our_own_errors_is_and_scrubbed(lines: Lines) -> None:
    try:
        raise Refused("NOPERM for alice@example.com")
    except Refused:
        log.exception("refused")
    assert lines.last["error"]["text"] == "NOPERM for [address]"


def test_an_error_that_was_not_raised(lines: Lines) -> None:
    log.error("x", exc_info=Refused("OOM"))
    assert lines.last["error"] == {"type": "bus.errors.Refused", "where": [], "text": "OOM"}
    log.error("x", exc_info=True)
    assert "error" not in lines.last


def test_requests_are_logged_without_queries_and_without_who_asked() -> None:
    def line(text: str, *args: Any) -> dict[str, Any]:
        record = logging.LogRecord(ACCESS, logging.INFO, __file__, 1, text, args or None, None)
        return dict(json.loads(JsonLines("gateway").format(record)))

    client = "203.0.113.7:51234"
    found = line('%s - "%s %s HTTP/%s" %d', client, "GET", f"/sse?ticket={TICKET}", "1.1", 200)
    assert (found["message"], found["method"], found["path"], found["status"]) == ("request", "GET", "/sse", 200)
    assert "203" not in repr(found)
    assert TICKET not in repr(found)
    assert line(f"something else from {client}")["message"] == "something else from [address]"


@given(st.text(), st.text())
def test_any_text_is_one_line_of_json(message: str, reason: str) -> None:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, message, None, None)
    record.reason = reason
    line = JsonLines("gateway").format(record)
    assert "\n" not in line
    json.loads(line)


def test_of_a_long_text_only_the_beginning_is_looked_at() -> None:
    for part in ("a", "a.", "a@", "1:", "1.", "eyJ.", "::", "?", "+1", "a b "):
        assert len(scrub(part * 500_000)) <= MAX_VALUE
    half_cut = ("+491701234567 " * 200)[:1_195] + " alice@example.com"
    assert "alice" not in scrub(half_cut)


# The code that logs ----------------------------------------------------------------------------------------------


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger in the packages that run as a role."""
    for package in ("bus", "gateway", "fanout"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name)
                    and node.func.value.id in ("log", "logger", "logging")
                    and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
                ):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", node


def test_our_own_lines_have_a_constant_text_and_known_fields() -> None:
    found = list(calls())
    assert found
    for where, call in found:
        assert len(call.args) == 1, f"{where}: what varies belongs into extra"
        assert isinstance(call.args[0], ast.Constant), f"{where}: the text must be constant"
        for keyword in call.keywords:
            if keyword.arg == "extra":
                assert isinstance(keyword.value, ast.Dict), where
                names = {key.value for key in keyword.value.keys if isinstance(key, ast.Constant)}
                assert names <= set(FIELDS), f"{where}: {names - set(FIELDS)} would not be written"
