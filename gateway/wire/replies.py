"""Everything the server says, as JSON bytes. What many clients see is joined from ready bytes, never re-parsed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson

from bus.keys import INBOX, inbox_of
from gateway.wire.codes import CloseInfo, Error

PING: Final = b"{}"
"""The server's ping, and the client's pong."""

INBOX_CHANNEL: Final = "inbox"
"""What a user's own inbox is called on the wire."""

TOMBSTONE: Final = b'"data":null,"removed":true'
"""Stands where a withdrawn publication was: clients deliver a null and move their offset past it."""


# Names -----------------------------------------------------------------------------------------------------------


def channel_of(topic: str) -> str:
    """What a topic is called on the wire; every inbox is `inbox`, for nobody sees another's."""
    return INBOX_CHANNEL if topic.startswith(INBOX) else topic


def topic_of(channel: str, user: str) -> str:
    """What a channel means to a user."""
    return inbox_of(user) if channel == INBOX_CHANNEL else channel


# Replies ---------------------------------------------------------------------------------------------------------


def raw(json: bytes) -> Any:
    """JSON bytes as a value to be put into a result without parsing; null when empty."""
    return orjson.Fragment(json or b"null")


def reply(id: int, method: str, result: Mapping[str, Any]) -> bytes:
    """The answer to a command; the result is always there, for clients read it even when it is empty."""
    return orjson.dumps({"id": id, method: result})


@lru_cache(maxsize=64)
def _error(error: Error, detail: str) -> bytes:
    info = error.value
    shown: dict[str, Any] = {"code": info.code, "message": f"{info.message}: {detail}" if detail else info.message}
    if info.temporary:
        shown["temporary"] = True
    return b',"error":' + orjson.dumps(shown) + b"}"


def error(id: int, error: Error, detail: str = "") -> bytes:
    """The answer to a command that was not served; `detail` says more than the error alone."""
    return b'{"id":%d%b' % (id, _error(error, detail))


def publication(content: bytes, offset: int) -> bytes:
    """One publication as a JSON object. `content` is its inside, empty where it was withdrawn; offset 0 is none."""
    return b'{%b,"offset":%d}' % (content or TOMBSTONE, offset) if offset else b"{%b}" % (content or TOMBSTONE)


def publications(entries: Iterable[tuple[int, bytes]]) -> Any:
    """A list of publications, (offset, content), as a value for a result."""
    return orjson.Fragment(b"[" + b",".join([publication(content, offset) for offset, content in entries]) + b"]")


# Pushes ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _head(channel: str, kind: bytes) -> bytes:
    return b'{"push":{"channel":' + orjson.dumps(channel) + b',"' + kind + b'":'


def push_publication(channel: str, content: bytes, offset: int) -> bytes:
    """A publication on its way to subscribers. `content` is the inside of a JSON object; offset 0 is none."""
    return b"%b%b}}" % (_head(channel, b"pub"), publication(content, offset))


def push_join(channel: str, info: bytes) -> bytes:
    """Someone came; `info` is a ClientInfo as JSON."""
    return b'%b{"info":%b}}}' % (_head(channel, b"join"), info)


def push_leave(channel: str, info: bytes) -> bytes:
    """Someone went; `info` is a ClientInfo as JSON."""
    return b'%b{"info":%b}}}' % (_head(channel, b"leave"), info)


def push_unsubscribe(channel: str, why: CloseInfo) -> bytes:
    """The server ended a subscription; the code says whether the client subscribes again."""
    return b"%b%b}}" % (_head(channel, b"unsubscribe"), orjson.dumps({"code": why.code, "reason": why.reason}))


def push_disconnect(why: CloseInfo) -> bytes:
    """The end, on wires that have no close code of their own (SSE, HTTP stream)."""
    return b'{"push":{"disconnect":%b}}' % orjson.dumps({"code": why.code, "reason": why.reason})


# People ----------------------------------------------------------------------------------------------------------


def client_info(user: str, client: str, info: bytes) -> bytes:
    """A ClientInfo as JSON; `info` is what the token says to show of the user, empty for nothing."""
    shown: dict[str, Any] = {"user": user, "client": client}
    if info:
        shown["conn_info"] = raw(info)
    return orjson.dumps(shown)
