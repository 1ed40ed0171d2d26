"""A Web Push service and the browsers behind it, on loopback: RFC 8030, 8291 and 8292 as the services keep to them.

It checks what real ones check (VAPID, TTL, Topic, size), stores what nobody is there to take, and lets a message of the
same topic take the place of one that waits. A browser decrypts with an implementation that is not ours.
"""

from __future__ import annotations

import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_bytes, token_urlsafe
from typing import Any

import http_ece
import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.providers.scripted import Script, listening

MAX_BODY = 4_096
MAX_TTL = 28 * 86_400
DAY = 24 * 3600
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,32}")


def to_text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a browser has it after decrypting."""

    plaintext: bytes
    ttl: int
    urgency: str
    topic: str | None


@dataclass
class Browser:
    """One subscription: what its page would send to us, and what arrived. `server_key`: whose pushes it takes alone."""

    endpoint: str
    key: EllipticCurvePrivateKey = field(default_factory=lambda: generate_private_key(SECP256R1()))
    auth: bytes = field(default_factory=lambda: token_bytes(16))
    server_key: str | None = None
    online: bool = True
    subscribed: bool = True
    received: list[Received] = field(default_factory=list)
    waiting: list[tuple[float, Received]] = field(default_factory=list)
    """What the service stores for it, each with the Unix time at which it is thrown away."""

    @property
    def keys(self) -> dict[str, str]:
        """As `PushSubscription.toJSON` has them."""
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return {"p256dh": to_text(point), "auth": to_text(self.auth)}

    def read(self, body: bytes) -> bytes:
        """Decrypt."""
        return bytes(http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"))


class PushService:
    """`script`: answers laid down by a test. `requests`: headers of all that came. `now`: its clock, Unix seconds."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.origin = ""
        self.script = Script()
        self.requests: list[dict[str, str]] = []
        self._now = now
        self._browsers: dict[str, Browser] = {}

    def subscribe(self, server_key: str | None = None) -> Browser:
        """A browser that has just subscribed."""
        browser = Browser("", server_key=server_key)
        self.adopt(browser)
        return browser

    def adopt(self, browser: Browser) -> None:
        """Give a browser an endpoint."""
        path = f"/push/{token_urlsafe(24)}"
        browser.endpoint = self.origin + path
        self._browsers[path] = browser

    def come_online(self, browser: Browser) -> None:
        """It takes what was stored for it and is not too old."""
        browser.online = True
        browser.received += [message for until, message in browser.waiting if until > self._now()]
        browser.waiting.clear()

    # A request ---------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append({name.lower(): value for name, value in request.headers.items()})
        if (scripted := self.script.take()) is not None:
            return await scripted.give(request)
        browser = self._browsers.get(request.path)
        if browser is None:
            return web.Response(status=404)
        if not browser.subscribed:
            return web.Response(status=410)
        status = self._refusal(request, browser, body)
        if status:
            return web.Response(status=status)
        message = Received(
            browser.read(body),
            min(int(request.headers["TTL"]), MAX_TTL),
            request.headers.get("Urgency", "normal"),
            request.headers.get("Topic"),
        )
        self._hand_over(browser, message)
        location = f"{self.origin}/message/{token_urlsafe(16)}"
        return web.Response(status=201, headers={"Location": location, "TTL": str(message.ttl)})

    def _hand_over(self, browser: Browser, message: Received) -> None:
        if browser.online:
            browser.received.append(message)
        elif message.ttl > 0:
            kept = [w for w in browser.waiting if message.topic is None or w[1].topic != message.topic]
            browser.waiting = [*kept, (self._now() + message.ttl, message)]

    def _refusal(self, request: web.Request, browser: Browser, body: bytes) -> int:
        headers = request.headers
        if status := self._identity_fault(headers.get("Authorization", ""), browser):
            return status
        if len(body) > MAX_BODY:
            return 413
        well_formed = (
            headers.get("Content-Encoding") == "aes128gcm"
            and headers.get("TTL", "").isdigit()
            and headers.get("Urgency", "normal") in ("very-low", "low", "normal", "high")
            and ("Topic" not in headers or TOPIC.fullmatch(headers["Topic"]))
        )
        return 0 if well_formed else 400

    def _identity_fault(self, authorization: str, browser: Browser) -> int:
        """401 where nobody is named, 403 where the one who is named may not (RFC 8292 §2, §4.2)."""
        scheme, _, rest = authorization.partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
        if scheme.lower() != "vapid" or set(parts) != {"t", "k"}:
            return 401
        try:
            key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), from_text(parts["k"]))
            options: Any = {"verify_exp": False, "require": ["exp", "aud", "sub"]}
            claims = jwt.decode(parts["t"], key, algorithms=["ES256"], audience=self.origin, options=options)
        except (ValueError, jwt.PyJWTError):
            return 403
        if not 0 < claims["exp"] - self._now() <= DAY:
            return 403
        return 403 if browser.server_key not in (None, parts["k"]) else 0


@asynccontextmanager
async def push_service(now: Callable[[], float] = time.time) -> AsyncIterator[PushService]:
    """A running service."""
    service = PushService(now)
    async with listening(service.handle) as service.origin:
        yield service
