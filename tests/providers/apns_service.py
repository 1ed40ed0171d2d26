"""APNs on loopback: HTTP/2 over TLS, provider tokens verified, requests checked and answered as Apple documents.

What a connection may suffer is scripted too: sent away with some of its streams unfinished, streams refused, answers in
pieces, silence.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, PingReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from tests.providers.tls import certificate, server_context

KEY_ID, TEAM_ID, TOPIC = "ABC123DEFG", "TEAM123456", "com.example.shop"
HOUR = 3600.0
_KEY = generate_private_key(SECP256R1())
KEY_FILE = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
"""What an operator downloads from Apple."""
MAX_PAYLOAD = 4_096


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. `hang`: none; `cut`: the connection is dropped; `refuse`: the stream is refused; `pieces`: how many
    DATA frames the body comes in; `early`: before the request's body was read."""

    status: int = 200
    reason: str = ""
    timestamp: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    cut: bool = False
    refuse: bool = False
    pieces: int = 1

    @property
    def body(self) -> bytes:
        said: dict[str, Any] = {"reason": self.reason} if self.reason else {}
        if self.timestamp is not None:
            said["timestamp"] = self.timestamp
        return json.dumps(said).encode() if said else b""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A notification that was taken."""

    token: str
    headers: dict[str, str]
    payload: dict[str, Any]


@dataclass
class _Request:
    headers: dict[str, str]
    body: bytearray = field(default_factory=bytearray)


class ApnsService:
    """`streams`: how many a connection may have at once; `next` and `always`: answers that a test laid down."""

    def __init__(self, now: Callable[[], float], streams: int) -> None:
        self.origin = ""
        self.streams = streams
        self.next: deque[Reply] = deque()
        self.always: Reply | None = None
        self.accepted: list[Accepted] = []
        self.connections: list[_Connection] = []
        """Every connection there was, oldest first."""
        self.devices: dict[str, Reply | None] = {}
        """Device tokens, each with the answer that it gets, or None for a live one."""
        self.tokens: list[str] = []
        """Provider tokens, as they came."""
        self.expired: set[str] = set()
        """Provider tokens that are held to be too old."""
        self.pings = asyncio.Semaphore(0)
        """One may be acquired per ping that came."""
        self.deaf = False
        """Pings are not answered."""
        self.gate: asyncio.Event | None = None
        """While it is not set, no request is answered."""
        self.arrived = asyncio.Event()
        """Set whenever a request has come."""
        self.now = now

    def register(self, token: str = "ab" * 32) -> str:
        """A device that lives."""
        self.devices[token] = None
        return token

    def judge(self, request: _Request) -> Reply:
        """The answer to a request."""
        self.tokens.append(request.headers.get("authorization", "").removeprefix("bearer "))
        if self.next:
            return self.next.popleft()
        if self.always is not None:
            return self.always
        reply = self._identity_fault(self.tokens[-1]) or self._fault(request)
        if reply is not None:
            return reply
        token = request.headers[":path"].rpartition("/")[2]
        if token not in self.devices:
            return Reply(400, "BadDeviceToken")
        if (gone := self.devices[token]) is not None:
            return gone
        self.accepted.append(Accepted(token, request.headers, json.loads(request.body)))
        return Reply(200, headers={"apns-id": request.headers["apns-id"]})

    def _identity_fault(self, token: str) -> Reply | None:
        if not token:
            return Reply(403, "MissingProviderToken")
        if token in self.expired:
            return Reply(403, "ExpiredProviderToken")
        try:
            options: Any = {"verify_iat": False}
            claims = jwt.decode(token, _KEY.public_key(), algorithms=["ES256"], issuer=TEAM_ID, options=options)
        except jwt.PyJWTError:
            return Reply(403, "InvalidProviderToken")
        if jwt.get_unverified_header(token).get("kid") != KEY_ID or claims["iat"] > self.now():
            return Reply(403, "InvalidProviderToken")
        return Reply(403, "ExpiredProviderToken") if self.now() - claims["iat"] > HOUR else None

    @staticmethod
    def _fault(request: _Request) -> Reply | None:
        headers = request.headers
        background = headers.get("apns-push-type") == "background"
        try:
            UUID(headers.get("apns-id", ""))
        except ValueError:
            return Reply(400, "BadMessageId")
        checks = (
            (headers[":method"] == "POST", Reply(405, "MethodNotAllowed")),
            (headers[":path"].startswith("/3/device/"), Reply(404, "BadPath")),
            ("apns-topic" in headers, Reply(400, "MissingTopic")),
            (headers.get("apns-topic") == TOPIC, Reply(400, "DeviceTokenNotForTopic")),
            (headers.get("apns-push-type") in ("alert", "background"), Reply(400, "InvalidPushType")),
            (headers.get("apns-priority", "10") in (("5",) if background else ("10", "5")), Reply(400, "BadPriority")),
            (headers.get("apns-expiration", "0").isdigit(), Reply(400, "BadExpirationDate")),
            (len(headers.get("apns-collapse-id", "").encode()) <= 64, Reply(400, "BadCollapseId")),
            (len(request.body) > 0, Reply(400, "PayloadEmpty")),
            (len(request.body) <= MAX_PAYLOAD, Reply(413, "PayloadTooLarge")),
        )
        return next((reply for good, reply in checks if not good), None)


class _Connection(asyncio.Protocol):
    def __init__(self, service: ApnsService) -> None:
        self._service = service
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self._h2.local_settings = Settings(
            client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: service.streams}
        )
        self._requests: dict[int, _Request] = {}
        self._held: list[int] = []
        self._transport: asyncio.Transport | None = None
        self.ended = asyncio.Event()
        self.most = 0
        """Streams that were open at once."""
        self.served = 0
        self.reset: list[int] = []
        """Streams that the client gave up."""

    @property
    def waiting(self) -> list[int]:
        """Streams whose request has come and that were not answered."""
        return list(self._held)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._service.connections.append(self)
        self._h2.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.ended.set()

    def flush(self) -> None:
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send())

    def drop(self) -> None:
        """As when a machine goes away."""
        if self._transport is not None:
            self._transport.abort()

    def send_away(self, last: int) -> None:
        """GOAWAY: nothing above `last` was or will be processed; the rest is answered still. Written by hand, since
        `h2` would take it for the end of the connection."""
        assert self._transport is not None
        payload = last.to_bytes(4, "big") + int(ErrorCodes.NO_ERROR).to_bytes(4, "big") + b'{"reason":"Shutdown"}'
        self.flush()
        self._transport.write(len(payload).to_bytes(3, "big") + b"\x07\0" + b"\0\0\0\0" + payload)

    def allow(self, streams: int) -> None:
        """Change how many streams there may be."""
        self._h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.flush()

    def answer(self, stream: int) -> None:
        """Answer a request that waits."""
        self._held.remove(stream)
        self._answer(stream)

    def data_received(self, data: bytes) -> None:
        if self._service.deaf:
            return
        try:
            events = self._h2.receive_data(data)
        except ProtocolError:
            self.flush()
            self.drop()
            return
        for event in events:
            if isinstance(event, RequestReceived):
                self._requests[event.stream_id] = _Request({str(n): str(v) for n, v in event.headers})
                self.most = max(self.most, len(self._requests))
            elif isinstance(event, DataReceived):
                self._requests[event.stream_id].body += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, StreamEnded):
                self._came(event.stream_id)
            elif isinstance(event, StreamReset):
                self.reset.append(event.stream_id)
                self._requests.pop(event.stream_id, None)
                if event.stream_id in self._held:
                    self._held.remove(event.stream_id)
            elif isinstance(event, PingReceived):
                self._service.pings.release()
        self.flush()

    def _came(self, stream: int) -> None:
        gate = self._service.gate
        if gate is not None and not gate.is_set():
            self._held.append(stream)
        else:
            self._answer(stream)
        self._service.arrived.set()

    def _answer(self, stream: int) -> None:
        request = self._requests[stream]
        reply = self._service.judge(request)
        if reply.cut:
            self.drop()
            return
        if reply.hang:
            self._held.append(stream)
            return
        del self._requests[stream]
        self.served += 1
        if reply.refuse:
            self._h2.reset_stream(stream, ErrorCodes.REFUSED_STREAM)
        else:
            self._send(stream, reply)
        self.flush()

    def _send(self, stream: int, reply: Reply) -> None:
        headers = {":status": str(reply.status), **reply.headers}
        self._h2.send_headers(stream, list(headers.items()), end_stream=not reply.body)
        size = -(-len(reply.body) // reply.pieces) or 1
        for place in range(0, len(reply.body), size):
            part = reply.body[place : place + size]
            self._h2.send_data(stream, part, end_stream=place + size >= len(reply.body))


@asynccontextmanager
async def apns_service(
    folder: Path, now: Callable[[], float] = time.time, *, streams: int = 1_000
) -> AsyncIterator[ApnsService]:
    """A running service; its certificate is made in `folder`."""
    service = ApnsService(now, streams)
    context = server_context(certificate(folder), "h2")
    server = await asyncio.get_running_loop().create_server(lambda: _Connection(service), "127.0.0.1", 0, ssl=context)
    try:
        service.origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield service
    finally:
        server.close()
        for connection in service.connections:
            connection.drop()
        await server.wait_closed()
