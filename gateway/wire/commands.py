"""Everything a client says, from bytes to values: what is not of the form is `Malformed`, never half understood.

One line is one command: `{"id":N,"<method>":{…}}` (Centrifuge client protocol v2). Unknown fields are ignored, as
newer clients send some; null is absent; of a key given twice the last counts, as in every browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bus.cursor import MAX_OFFSET, Cursor
from bus.tree import MAX_DEPTH, depth_of
from gateway.wire.replies import INBOX_CHANNEL, PING

MAX_ID: Final = 2**32 - 1
MAX_LIMIT: Final = 2**31 - 1
REJECT_UNRECOVERED: Final = 2
"""Bit of a subscribe's `flag`: rather an error than a subscription that missed something."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Who I am, and where I stood in my inbox."""

    id: int
    token: str
    recover: Cursor | None


@dataclass(frozen=True, slots=True)
class Subscribe:
    """`strict`: answer with an error what cannot be recovered."""

    id: int
    channel: str
    token: str
    recover: Cursor | None
    strict: bool


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class Publish:
    """`data` is JSON; empty when there was none."""

    id: int
    channel: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Presence:
    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class PresenceStats:
    id: int
    channel: str


@dataclass(frozen=True, slots=True)
class History:
    """`limit` 0 asks for the position only, a negative one for all."""

    id: int
    channel: str
    limit: int
    since: Cursor | None
    reverse: bool


@dataclass(frozen=True, slots=True)
class Rpc:
    """`data` is JSON; empty when there was none."""

    id: int
    method: str
    data: bytes


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Wants no reply, so it has no id."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Refresh:
    id: int
    token: str


@dataclass(frozen=True, slots=True)
class SubRefresh:
    id: int
    channel: str
    token: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A method we do not have, well formed otherwise."""

    id: int
    method: str


@dataclass(frozen=True, slots=True)
class Pong:
    """The answer to a ping: a command without id and method."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a command; `why` never quotes the input."""

    why: str


Command = (
    Connect
    | Subscribe
    | Unsubscribe
    | Publish
    | Presence
    | PresenceStats
    | History
    | Rpc
    | SendMessage
    | Refresh
    | SubRefresh
    | Unknown
)

PONG: Final = Pong()
Request = Mapping[str, Any]


def lines(message: bytes) -> list[bytes]:
    """The commands of one message, still as bytes: joined by line feeds, of which the last may end it."""
    return message.removesuffix(b"\n").split(b"\n")


def parse(line: bytes) -> Command | Pong | Malformed:
    """One command."""
    if line == PING:
        return PONG
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError:
        return Malformed("not JSON in UTF-8")
    if type(raw) is not dict:
        return Malformed("not an object")
    # Counting brackets is far cheaper than walking, and settles it for nearly every command.
    if line.count(b"{") + line.count(b"[") > MAX_DEPTH and depth_of(raw) > MAX_DEPTH:
        return Malformed("nested too deep")
    try:
        return _command(raw)
    except _Bad as bad:
        return Malformed(str(bad))


def _command(raw: Request) -> Command | Pong:
    id = _whole(raw, "id", 0, MAX_ID)
    known = [name for name in raw if name in _READERS]
    if len(known) > 1:
        raise _Bad("several methods in one command")
    if known:
        request = raw[known[0]]
        if type(request) is not dict:
            raise _Bad("a request must be an object")
        if not id and known[0] != "send":
            raise _Bad("a command needs an id")
        return _READERS[known[0]](id, request)
    other = [name for name in raw if name != "id"]
    if other and id:
        return Unknown(id, other[0])
    if other or id:
        raise _Bad("a command needs an id and a method")
    return PONG


# Fields ----------------------------------------------------------------------------------------------------------


class _Bad(Exception):
    """A field is not of its type; ends the reading of one command and never leaves this module."""


def _text(request: Request, name: str) -> str:
    value = request.get(name)
    if value is None:
        return ""
    if type(value) is not str:
        raise _Bad(f"{name} must be a string")
    return value


def _channel(request: Request) -> str:
    channel = _text(request, "channel")
    if not channel:
        raise _Bad("channel is required")
    return channel


def _whole(request: Request, name: str, low: int, high: int) -> int:
    value = request.get(name)
    if value is None:
        return 0
    if type(value) is not int or not low <= value <= high:
        raise _Bad(f"{name} must be a whole number in range")
    return value


def _flag(request: Request, name: str) -> bool:
    value = request.get(name)
    if value is None or type(value) is bool:
        return value is True
    raise _Bad(f"{name} must be true or false")


def _cursor(request: Request) -> Cursor:
    return Cursor(_text(request, "epoch"), _whole(request, "offset", 0, MAX_OFFSET))


def _recover(request: Request) -> Cursor | None:
    cursor = _cursor(request)
    return cursor if _flag(request, "recover") else None


def _data(request: Request) -> bytes:
    return orjson.dumps(request["data"]) if "data" in request else b""


def _object(request: Request, name: str) -> Request | None:
    value = request.get(name)
    if value is not None and type(value) is not dict:
        raise _Bad(f"{name} must be an object")
    return value


# Methods ---------------------------------------------------------------------------------------------------------


def _connect(id: int, request: Request) -> Connect:
    inbox = _object(_object(request, "subs") or {}, INBOX_CHANNEL)
    return Connect(id, _text(request, "token"), _recover(inbox) if inbox else None)


def _subscribe(id: int, request: Request) -> Subscribe:
    strict = bool(_whole(request, "flag", 0, 2**53) & REJECT_UNRECOVERED)
    return Subscribe(id, _channel(request), _text(request, "token"), _recover(request), strict)


def _history(id: int, request: Request) -> History:
    since = _object(request, "since")
    limit = _whole(request, "limit", -MAX_LIMIT - 1, MAX_LIMIT)
    cursor = None if since is None else _cursor(since)
    return History(id, _channel(request), limit, cursor, _flag(request, "reverse"))


def _refresh(id: int, request: Request) -> Refresh:
    token = _text(request, "token")
    if not token:
        raise _Bad("token is required")
    return Refresh(id, token)


_READERS: Mapping[str, Callable[[int, Request], Command]] = {
    "connect": _connect,
    "subscribe": _subscribe,
    "unsubscribe": lambda id, request: Unsubscribe(id, _channel(request)),
    "publish": lambda id, request: Publish(id, _channel(request), _data(request)),
    "presence": lambda id, request: Presence(id, _channel(request)),
    "presence_stats": lambda id, request: PresenceStats(id, _channel(request)),
    "history": _history,
    "rpc": lambda id, request: Rpc(id, _text(request, "method"), _data(request)),
    "send": lambda _, request: SendMessage(_data(request)),
    "refresh": _refresh,
    "sub_refresh": lambda id, request: SubRefresh(id, _channel(request), _text(request, "token")),
}
