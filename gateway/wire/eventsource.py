"""The bytes of a plain event stream (WHATWG HTML §9.2), and the `id:` by which it resumes.

The `id:` is the whole state of a stream: where it stands in each of its topics. It comes back as `Last-Event-ID`, from
any node's stream to any other's, so nothing is kept for a client that is away.
"""

from __future__ import annotations

import re
from base64 import b32encode
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from bus.cursor import Cursor

MAX_ID: Final = 8_192
"""Longest `Last-Event-ID` that is read, in characters."""

HEARTBEAT: Final = b":\n\n"
"""A comment: keeps proxies from closing an idle stream, and no client sees it."""

_LINE_END: Final = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN: Final = re.compile(r"[\r\n\0]")


def event(data: bytes, *, name: str = "", id: str = "", retry: int | None = None) -> bytes:
    """One event. `data` is UTF-8 and may have several lines, of any line ending; the client gets them joined by LF.

    An empty `name` is a `message`; an empty `id` leaves the client's last one as it is; `retry` in milliseconds.
    Raises `ValueError` for a name or id with CR, LF or NUL, which would forge a field or make the client drop it.
    """
    lines = [] if retry is None else [b"retry: %d\n" % retry]
    lines += [_field(b"id", id)] if id else []
    lines += [_field(b"event", name)] if name else []
    lines += [b"data: " + line + b"\n" for line in _LINE_END.split(data)]
    return b"".join((*lines, b"\n"))


def _field(field: bytes, value: str) -> bytes:
    if _FORBIDDEN.search(value):
        raise ValueError(f"{field.decode()} must not contain CR, LF or NUL")
    return b"%b: %b\n" % (field, value.encode())


# Where a stream stands ---------------------------------------------------------------------------------------------

# An id is `key.offset.epoch~key.offset.epoch…`, of characters that mean the same in a header, an `id:` line and a
# query string, escaped or not. Names of topics may be long and may be anything, so each is known by a short hash.

_FRAGMENT: Final = re.compile(r"([a-z2-7]{8})\.(\d{1,16})\.([A-Za-z0-9_.-]+)", re.ASCII)
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-")
_ESCAPE: Final = re.compile(r"_([0-9A-F]{2})")


def _key(topic: str) -> str:
    return b32encode(blake2b(topic.encode(), digest_size=5).digest()).decode().lower()


def _escape(epoch: str) -> str:
    return "".join(c if c in _PLAIN else "".join(f"_{byte:02X}" for byte in c.encode()) for c in epoch)


def _unescape(text: str) -> str:
    """Raises `UnicodeDecodeError` for what `_escape` cannot have made."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text).encode("latin-1").decode()


def _cursor(epoch: str, offset: str) -> Cursor | None:
    try:
        return Cursor.parse(f"{_unescape(epoch)}:{offset}")
    except UnicodeDecodeError:
        return None


class Position:
    """Where a stream stands in each of its topics; `str()` is its `id:`. One without an epoch has no place in it."""

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str, int]] = {}

    def move(self, topic: str, cursor: Cursor) -> None:
        """Stand at a cursor of a topic."""
        self._places.pop(topic, None)
        if cursor.epoch:
            self._places[topic] = (_key(topic), _escape(cursor.epoch), cursor.offset)

    def advance(self, topic: str, offset: int) -> None:
        """Stand at an offset of the same epoch."""
        if place := self._places.get(topic):
            self._places[topic] = (place[0], place[1], offset)

    def __str__(self) -> str:
        return "~".join(f"{key}.{offset}.{epoch}" for key, epoch, offset in self._places.values())


def resume(text: str, topics: Iterable[str]) -> dict[str, Cursor] | None:
    """The cursors that a `Last-Event-ID` has for these topics; those of other topics are left out.

    None when it is none of ours, which a client's input may be: where it stood is not known then.
    """
    if len(text) > MAX_ID:
        return None
    found: dict[str, Cursor] = {}
    for fragment in text.split("~"):
        if (match := _FRAGMENT.fullmatch(fragment)) is None or (cursor := _cursor(match[3], match[2])) is None:
            return None
        found[match[1]] = cursor
    return {topic: found[key] for topic in topics if (key := _key(topic)) in found}
