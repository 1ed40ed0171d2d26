"""Google's token endpoint and FCM HTTP v1 on loopback: it verifies the assertion and the access token, checks messages
as FCM documents, and answers in Google's error model.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from secrets import token_urlsafe
from typing import Any
from urllib.parse import parse_qs

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.providers.scripted import Script, Scripted, listening

PROJECT, EMAIL, KEY_ID = "shop-1234", "push@shop-1234.iam.gserviceaccount.com", "k1"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"
MAX_PAYLOAD = 4_096
LIFETIME = 3_599
MOST_TTL = 4 * 7 * 86_400


@cache
def account_key() -> RSAPrivateKey:
    """One for all tests: it takes long to make."""
    return generate_private_key(65_537, 2_048)


def error(
    status: int, name: str, code: str | None = None, fields: tuple[str, ...] = (), headers: Mapping[str, str] = {}
) -> Scripted:
    """An answer in Google's error model."""
    details: list[dict[str, Any]] = []
    if code:
        details.append({"@type": FCM_ERROR, "errorCode": code})
    if fields:
        violations = [{"field": one, "description": "Invalid value"} for one in fields]
        details.append({"@type": BAD_REQUEST, "fieldViolations": violations})
    said = {"error": {"code": status, "message": "Requested entity was not found.", "status": name, "details": details}}
    return Scripted(status, {"Content-Type": "application/json", **headers}, json.dumps(said).encode())


class FcmService:
    """`script`: answers to sends that a test laid down; `token_script`: answers of the token endpoint."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.origin = ""
        self.script, self.token_script = Script(), Script()
        self.exchanges = 0
        self.messages: list[dict[str, Any]] = []
        """What was accepted."""
        self.devices: set[str] = set()
        """Tokens of devices that are registered."""
        self._granted: dict[str, float] = {}
        self._now = now

    @property
    def key_file(self) -> str:
        """What an operator downloads for the service account."""
        pem = account_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        return json.dumps(
            {
                "type": "service_account",
                "project_id": PROJECT,
                "private_key_id": KEY_ID,
                "private_key": pem,
                "client_email": EMAIL,
                "token_uri": f"{self.origin}/token",
            }
        )

    def register(self) -> str:
        """A new device's token."""
        token = token_urlsafe(32)
        self.devices.add(token)
        return token

    def revoke_access(self) -> None:
        """Access tokens that were granted are good no more."""
        self._granted.clear()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path == "/token":
            return await self._token(request, body)
        if (scripted := self.script.take()) is not None:
            return await scripted.give(request)
        fault = self._refusal(request, body)
        if fault is not None:
            return await fault.give(request)
        self.messages.append(json.loads(body)["message"])
        return web.json_response({"name": f"projects/{PROJECT}/messages/{token_urlsafe(8)}"})

    # The token endpoint (RFC 6749 §5, RFC 7523) ------------------------------------------------------------------

    async def _token(self, request: web.Request, body: bytes) -> web.StreamResponse:
        self.exchanges += 1
        if (scripted := self.token_script.take()) is not None:
            return await scripted.give(request)
        form = parse_qs(body.decode())
        if form.get("grant_type") != [GRANT] or request.content_type != "application/x-www-form-urlencoded":
            return web.json_response({"error": "unsupported_grant_type"}, status=400)
        if not self._asserted(form.get("assertion", [""])[0]):
            return web.json_response({"error": "invalid_grant", "error_description": "Invalid JWT."}, status=400)
        token = token_urlsafe(40)
        self._granted[token] = self._now() + LIFETIME
        return web.json_response({"access_token": token, "expires_in": LIFETIME, "token_type": "Bearer"})

    def _asserted(self, assertion: str) -> bool:
        options: Any = {"verify_exp": False, "verify_iat": False, "require": ["iss", "aud", "iat", "exp"]}
        try:
            claims = jwt.decode(
                assertion,
                account_key().public_key(),
                algorithms=["RS256"],
                audience=f"{self.origin}/token",
                issuer=EMAIL,
                options=options,
            )
        except jwt.PyJWTError:
            return False
        known = jwt.get_unverified_header(assertion).get("kid") == KEY_ID and claims.get("scope") == SCOPE
        return known and claims["iat"] <= self._now() < claims["exp"] <= claims["iat"] + 3600

    # messages:send -----------------------------------------------------------------------------------------------

    def _refusal(self, request: web.Request, body: bytes) -> Scripted | None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self._granted.get(token, 0.0) <= self._now():
            return error(401, "UNAUTHENTICATED")
        if request.path != f"/v1/projects/{PROJECT}/messages:send":
            return error(404, "NOT_FOUND")
        message = json.loads(body)["message"]
        if bad := faults_of(message):
            return error(400, "INVALID_ARGUMENT", fields=bad)
        if len(message["token"]) < 20:
            return error(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", ("message.token",))
        if message["token"] not in self.devices:
            return error(404, "NOT_FOUND", "UNREGISTERED")
        return None


def faults_of(message: Mapping[str, Any]) -> tuple[str, ...]:
    """Fields that FCM would not take."""
    found: list[str] = []
    data = message.get("data", {})
    found += [f"message.data[{n}].value" for n, value in enumerate(data.values()) if not isinstance(value, str)]
    if any(name in ("from", "message_type") or name.startswith(("google.", "gcm.")) for name in data):
        found.append("message.data")
    if len(json.dumps([data, message.get("notification", {})], ensure_ascii=False).encode()) > MAX_PAYLOAD + 60:
        found.append("message")
    android = message.get("android", {})
    ttl = android.get("ttl", "0s")
    if not ttl.endswith("s") or not ttl[:-1].isdigit() or int(ttl[:-1]) > MOST_TTL:
        found.append("message.android.ttl")
    if android.get("priority") not in ("normal", "high"):
        found.append("message.android.priority")
    return tuple(found)


@asynccontextmanager
async def fcm_service(now: Callable[[], float] = time.time) -> AsyncIterator[FcmService]:
    """A running service."""
    service = FcmService(now)
    async with listening(service.handle) as service.origin:
        yield service
