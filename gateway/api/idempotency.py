"""The Idempotency-Key header: what a key may be, and what makes two bodies the same."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import orjson
from starlette.datastructures import Headers

from gateway.api.problem import Kind, Refusal

HEADER: Final = "Idempotency-Key"
REPLAY: Final = "Idempotency-Replay"
MAX_KEY: Final = 255
"""Longest key, in characters."""


def key_of(headers: Headers) -> str | Refusal | None:
    """The request's key, None without one, or why it is none."""
    keys = headers.getlist(HEADER)
    if not keys:
        return None
    if len(keys) > 1 or not 1 <= len(keys[0]) <= MAX_KEY or not all("!" <= c <= "~" for c in keys[0]):
        return Refusal(Kind.BAD_REQUEST, f"{HEADER} must be given once, as 1 to {MAX_KEY} visible ASCII characters")
    return keys[0]


def fingerprint(form: str, headers: Headers, body: bytes) -> str:
    """A hash that two requests share only if they say the same: the body's form, its CloudEvents headers, its bytes."""
    attributes = sorted((name, value) for name, value in headers.items() if name.startswith("ce-"))
    return sha256(orjson.dumps((form, headers.get("content-type", ""), attributes)) + b"\n" + body).hexdigest()
