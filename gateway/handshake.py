"""The opening handshake of RFC 6455 §4.2: a request head in, an accepted upgrade or a refusal out. Pure.

The head is read here and not by an HTTP parser, strictly and in one pass: that makes a connect a fifth cheaper, and
means that a request of which two parsers could think differently never becomes a connection.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from dataclasses import dataclass
from hashlib import sha1
from http import HTTPStatus
from typing import Final

import orjson

PATH: Final = b"/connection/websocket"
SUBPROTOCOL: Final = b"centrifuge-json"
MAX_FIELDS: Final = 100
"""Header fields of one request."""

_SCHEMES: Final = (b"http", b"https", b"ws", b"wss")
_TEXT: Final = bytes(byte for byte in range(256) if byte == 9 or 32 <= byte != 127)
"""What may stand in a line: tabs, printable ASCII and bytes above it (RFC 9110 §5.5)."""
_TOKEN: Final = b"!#$%&'*+-.^_`|~" + bytes(byte for byte in range(128) if chr(byte).isalnum())
"""What names of fields are made of (RFC 9110 §5.6.2)."""
_KEY: Final = re.compile(rb"[+/0-9A-Za-z]{22}==")
_HOST: Final = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+,;=-]+)(?::[0-9]*)?")
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ONCE: Final = frozenset(
    (
        b"host",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"content-length",
        b"transfer-encoding",
    )
)
"""Fields of which a second one is never joined to the first."""
_OTHER_FORMATS: Final = (b"format=protobuf", b"cf_protocol=protobuf", b"cf_ws_frame_ping_pong=true")


@dataclass(frozen=True, slots=True)
class Request:
    """A request line for our path. `authority` is empty but in the absolute form (RFC 9112 §3.2.2)."""

    method: bytes
    authority: bytes
    query: bytes
    version: bytes
    fields_at: int
    """Where in the head the header fields begin."""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """A handshake in order. Whether its origin may come is for the caller to decide."""

    host: str
    origin: str | None
    response: bytes
    """The 101 that accepts it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status for the client and what is wrong, never with what it sent."""

    status: int
    detail: str
    fields: bytes = b""
    """Further header lines, each with its line end."""

    def response(self) -> bytes:
        """The whole response (RFC 9457); the connection ends with it."""
        phrase = HTTPStatus(self.status).phrase
        problem = {"type": "about:blank", "title": phrase, "status": self.status, "detail": self.detail}
        body = orjson.dumps(problem)
        head = b"HTTP/1.1 %d %b\r\n%bContent-Type: application/problem+json\r\nContent-Length: %d\r\n"
        return head % (self.status, phrase.encode(), self.fields, len(body)) + b"Connection: close\r\n\r\n" + body


UPGRADE_REQUIRED: Final = Refusal(
    426,
    "this resource speaks WebSocket, version 13",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
)
TOO_LARGE: Final = Refusal(431, "the request head is too large")
MALFORMED: Final = Refusal(400, "the request head is malformed")
BAD_HOST: Final = Refusal(400, "exactly one valid Host is needed")


def has_bare_line_feed(head: bytes) -> bool:
    """Whether a line ends without a carriage return, which some read as an end and some do not (RFC 9112 §2.2)."""
    return _BARE_LINE_FEED.search(head) is not None


def is_host(value: bytes) -> bool:
    """Whether it is a host and perhaps a port (RFC 9110 §7.2)."""
    return _HOST.fullmatch(value) is not None


def read_request_line(head: bytes) -> Request | None:
    """The request line, if it asks for our path, by whatever method; None: the request is for the HTTP application."""
    end = head.find(b"\r\n")
    parts = head[:end].split(b" ")
    if len(parts) != 3:
        return None
    method, target, version = parts
    path, _, query = target.partition(b"?")
    authority = b""
    if path[:1] != b"/":
        scheme, found, rest = path.partition(b"://")
        if not found or scheme.lower() not in _SCHEMES:
            return None
        authority, slash, path = rest.partition(b"/")
        path = slash + path
    return Request(method, authority, query, version, end + 2) if path == PATH else None


def check(request: Request, head: bytes) -> Upgrade | Refusal:
    """Whether a request for our path is a handshake as it must be. `head` ends with its empty line."""
    if request.method != b"GET":
        return Refusal(405, "a WebSocket is opened by GET", b"Allow: GET\r\n")
    if request.version != b"HTTP/1.1":
        return Refusal(400, "a WebSocket is opened by HTTP/1.1")
    fields = read_fields(head, request.fields_at)
    if isinstance(fields, Refusal):
        return fields
    host = request.authority or fields.get(b"host", b"")
    if b"host" not in fields or not is_host(host):
        return BAD_HOST
    refusal = _fault_of(fields) or _format_fault(request.query)
    if refusal is not None:
        return refusal
    subprotocol = _subprotocol(fields.get(b"sec-websocket-protocol", b""))
    if isinstance(subprotocol, Refusal):
        return subprotocol
    origin = fields.get(b"origin")
    response = _accept(fields[b"sec-websocket-key"], subprotocol)
    return Upgrade(host.decode("latin-1"), None if origin is None else origin.decode("latin-1"), response)


def read_fields(head: bytes, at: int) -> dict[bytes, bytes] | Refusal:
    """Header fields by lower-case name (RFC 9110 §5), those of one name joined by commas."""
    lines = head[at:-4].split(b"\r\n")
    if len(lines) > MAX_FIELDS:
        return TOO_LARGE
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.strip(b" \t")
        if not colon or not name:
            return MALFORMED
        if name not in fields:
            fields[name] = value
        elif name in _ONCE:
            return Refusal(400, f"more than one {name.decode()}")
        else:
            fields[name] += b"," + value
    # All at once, for it is ten times faster than line by line: nothing but text and whole line ends, and no name
    # that is not a token, which also finds folded lines (RFC 9112 §5.2).
    if head.translate(None, _TEXT) != b"\r\n" * (len(lines) + 2) or b"".join(fields).translate(None, _TOKEN):
        return MALFORMED
    return fields


def _fault_of(fields: dict[bytes, bytes]) -> Refusal | None:
    """What a handshake lacks (RFC 6455 §4.2.1)."""
    if not (_has(fields, b"upgrade", b"websocket") and _has(fields, b"connection", b"upgrade")):
        return UPGRADE_REQUIRED
    if fields.get(b"sec-websocket-version") != b"13":
        return UPGRADE_REQUIRED
    if not _KEY.fullmatch(fields.get(b"sec-websocket-key", b"")):
        return Refusal(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
        return Refusal(400, "a handshake has no body")
    return None


def _format_fault(query: bytes) -> Refusal | None:
    """Formats that SDKs can ask for in the query and that are not served here."""
    if query and any(option in _OTHER_FORMATS for option in query.split(b"&")):
        return Refusal(400, "only JSON in text messages is served here, with pings in the protocol")
    return None


def _subprotocol(value: bytes) -> bytes | Refusal:
    """The subprotocol to answer with, empty for none. An empty offer is tolerated (centrifuge-python up to 0.5 sends
    one), an unknown one is not answered, and one that we know not to speak is refused."""
    offered = [name.strip(b" \t") for name in value.split(b",")] if value else []
    if SUBPROTOCOL in offered:
        return SUBPROTOCOL
    if b"centrifuge-protobuf" in offered:
        return Refusal(400, "the subprotocol centrifuge-protobuf is not served here, use centrifuge-json")
    return b""


def _accept(key: bytes, subprotocol: bytes) -> bytes:
    """The server's part of the handshake (RFC 6455 §4.2.2)."""
    digest = b2a_base64(sha1(key + _GUID, usedforsecurity=False).digest(), newline=False)
    head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
    if subprotocol:
        return head + digest + b"\r\nSec-WebSocket-Protocol: " + subprotocol + b"\r\n\r\n"
    return head + digest + b"\r\n\r\n"


def _has(fields: dict[bytes, bytes], name: bytes, token: bytes) -> bool:
    """Whether a field that is a list contains a token, in whatever case."""
    value = fields.get(name, b"").lower()
    return value == token or token in [one.strip(b" \t") for one in value.split(b",")]
