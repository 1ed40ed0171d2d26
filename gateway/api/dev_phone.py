"""A pretend phone for everyone, and the push service behind it: what a development gateway has instead of the world's.

A phone is a browser's subscription: our own delivery worker encrypts for it and posts to it as to any other, and here
it is decrypted as a browser would. Its keys follow from the development secret and the name, so nothing of a phone has
to be kept but what is on its screen.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
    derive_private_key,
)
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

from bus.clock import Clock
from bus.ece import AUTH_BYTES, MAX_BODY, Unreadable, decrypt, from_text, point_of, to_text
from bus.keys import Keys
from bus.naming import name_fault
from bus.pipe import Pipe
from gateway.api.body import read_body
from gateway.api.dev import guard
from gateway.api.paths import ExactRoute
from gateway.api.problem import Kind, Refusal, bad_request
from gateway.settings import GatewaySettings

KEPT: Final = 50
"""Items on a screen."""
TTL: Final = 86_400
"""Seconds after the last push at which a screen goes dark."""
LONGEST_CLAIM: Final = 24 * 3600
"""Seconds that a VAPID token may be good (RFC 8292 §2)."""
_ORDER_OF_P256: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


# A phone ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phone:
    """The keys of one person's phone, and the secret part of its address."""

    key: EllipticCurvePrivateKey
    auth: bytes
    number: str

    @classmethod
    def of(cls, user: str, secret: str) -> Phone:
        """The phone of a user; the same at every time and on every node."""

        def derived(what: str) -> bytes:
            return hmac.digest(secret.encode(), f"phone {what} {user}".encode(), "sha512")

        scalar = int.from_bytes(derived("key"), "big") % (_ORDER_OF_P256 - 1) + 1
        return cls(
            derive_private_key(scalar, SECP256R1()), derived("auth")[:AUTH_BYTES], to_text(derived("number")[:16])
        )

    def subscription(self, user: str, origin: str) -> dict[str, Any]:
        """As `PushSubscription.toJSON` gives it."""
        return {
            "endpoint": f"{origin}/dev/push/{quote(user, safe='')}/{self.number}",
            "keys": {"p256dh": to_text(point_of(self.key)), "auth": to_text(self.auth)},
        }


def origin_of(settings: GatewaySettings) -> str:
    """Where the delivery worker, which runs on this machine too, finds this gateway."""
    host = _ANYWHERE.get(settings.host, settings.host)
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def sender_fault(authorization: str, origin: str, now: float) -> str | None:
    """What is wrong with the sender's word for who it is (RFC 8292 §2–3), or None. `now`: Unix time in seconds."""
    scheme, _, rest = authorization.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    point = from_text(parts.get("k", ""))
    if scheme.lower() != "vapid" or point is None:
        return "the sender does not say who it is"
    try:
        key = EllipticCurvePublicKey.from_encoded_point(SECP256R1(), point)
        options: Any = {"verify_exp": False, "require": ["exp", "aud"]}
        claims = jwt.decode(parts.get("t", ""), key, algorithms=["ES256"], audience=origin, options=options)
    except (ValueError, jwt.PyJWTError):
        return "the sender's token is not signed by its key, or not for this service"
    left = claims["exp"] - now
    return None if 0 < left <= LONGEST_CLAIM else "the sender's token is over, or good for too long"


# The endpoints ---------------------------------------------------------------------------------------------------


def routes(settings: GatewaySettings, clock: Clock, pipe: Pipe, keys: Keys) -> list[BaseRoute]:
    """`/dev/phone/{user}` for the page, `/dev/push/…` for the delivery worker."""
    phones = _Phones(settings, clock, pipe, keys)
    return [
        ExactRoute("/dev/phone/{user}", guard(phones.register, settings), methods=["POST"]),
        ExactRoute("/dev/phone/{user}", guard(phones.items, settings), methods=["GET"]),
        ExactRoute("/dev/push/{user}/{number}", guard(phones.push, settings), methods=["POST"]),
    ]


class _Phones:
    def __init__(self, settings: GatewaySettings, clock: Clock, pipe: Pipe, keys: Keys) -> None:
        self._clock, self._pipe, self._keys = clock, pipe, keys
        self._secret, self._origin = settings.token_secret, origin_of(settings)

    async def register(self, request: Request) -> Response:
        user = request.path_params["user"]
        if fault := name_fault(user):
            return bad_request(f"the user {fault}").response()
        return JSONResponse(Phone.of(user, self._secret).subscription(user, self._origin), 201)

    async def items(self, request: Request) -> Response:
        user = request.path_params["user"]
        if fault := name_fault(user):
            return bad_request(f"the user {fault}").response()
        items = await self._pipe.ask("LRANGE", self._keys.phone(user), 0, -1)
        return JSONResponse({"items": [_shown(item) for item in items]}, headers={"cache-control": "no-store"})

    async def push(self, request: Request) -> Response:
        """A push service's answer (RFC 8030 §5)."""
        user = request.path_params["user"]
        phone = Phone.of(user, self._secret)
        if not hmac.compare_digest(request.path_params["number"].encode(), phone.number.encode()):
            return Refusal(Kind.NOT_FOUND).response()
        if fault := sender_fault(request.headers.get("authorization", ""), self._origin, self._clock.wall()):
            return Refusal(Kind.FORBIDDEN, fault).response()
        if not request.headers.get("ttl", "").isdigit() or request.headers.get("content-encoding") != "aes128gcm":
            return bad_request("a push has a TTL, and is encrypted by aes128gcm").response()
        body = await read_body(request, MAX_BODY)
        if isinstance(body, Refusal):
            return body.response()
        said = _read(decrypt(body, phone.key, phone.auth))
        if said is None:
            return bad_request("nothing that this phone can read").response()
        await self._ring(user, said)
        ttl = {"ttl": request.headers["ttl"], "location": f"{self._origin}/dev/phone/{quote(user, safe='')}"}
        return Response(status_code=201, headers=ttl)

    async def _ring(self, user: str, said: _Said) -> None:
        item = orjson.dumps({**said.shown, "at": self._clock.wall()})
        await self._pipe.script(
            "phone_ring", [self._keys.phone(user)], [said.tag, said.id, int(said.withdrawn), item, KEPT, TTL]
        )


@dataclass(frozen=True, slots=True)
class _Said:
    tag: str
    id: str
    withdrawn: bool
    shown: dict[str, Any]


def _read(plaintext: bytes | Unreadable) -> _Said | None:
    """What our sender tells a device: an id and a tag, and texts unless it is thin or takes something away."""
    if isinstance(plaintext, Unreadable):
        return None
    try:
        said = orjson.loads(plaintext)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(said, dict):
        return None
    withdrawn = "withdrawn" in said
    tag, id = said.get("tag"), said.get("withdrawn" if withdrawn else "id")
    if not isinstance(tag, str) or not isinstance(id, str) or "\n" in tag + id:
        return None
    title = "You have a notification" if said.get("thin") else ""
    return _Said(tag, id, withdrawn, {"title": title, "body": "", **said})


def _shown(item: bytes) -> dict[str, Any]:
    _, _, withdrawn, said = item.split(b"\n", 3)
    return {**orjson.loads(said), "withdrawn": withdrawn == b"1"}
