"""JSON Web Tokens signed with HS256 by the standard library alone (RFC 7519, RFC 7515)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

_HEADER = {"alg": "HS256", "typ": "JWT"}


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def sign(claims: dict[str, Any], secret: str) -> str:
    """A compact JWT over `claims`."""
    head, body = (_part(json.dumps(part, separators=(",", ":")).encode()) for part in (_HEADER, claims))
    message = head + b"." + body
    return (message + b"." + _part(hmac.new(secret.encode(), message, hashlib.sha256).digest())).decode()


def user_token(user: str, secret: str, *, expires_at: float, topics: tuple[str, ...] = ()) -> str:
    """What lets `user` connect until `expires_at` (Unix time) and subscribe to `topics`."""
    claims: dict[str, Any] = {"sub": user, "iss": "tocsin", "aud": "tocsin", "exp": int(expires_at)}
    if topics:
        claims["topics"] = list(topics)
    return sign(claims, secret)
