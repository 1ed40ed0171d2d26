"""Callback tokens: what a provider's later word on a message is about, in a URL that only we can make. Pure.

The sender puts the token into the URL that it gives to the provider; the gateway reads it when the provider calls.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

VERSION: Final = 1
_MAC: Final = 16
MAX_TOKEN: Final = 2_048
PATH: Final = "/v1/callbacks/"
"""What the path of every callback begins with."""


@dataclass(frozen=True, slots=True)
class Told:
    """Which provider speaks, of which event (its ref) and person, on which channel."""

    provider: str
    channel: str
    user: str
    ref: str


def secret_of(provider_secret: str) -> bytes:
    """The key of tokens, from a secret that both roles hold for the provider (RFC 5869's extract step)."""
    return hmac.digest(b"tocsin callback", provider_secret.encode(), sha256)


def make(secret: bytes, told: Told) -> str:
    """A token for a URL. No name may have a NUL, and none does."""
    named = "\0".join((told.provider, told.channel, told.user, told.ref)).encode()
    return base64.urlsafe_b64encode(bytes((VERSION,)) + _mac(secret, named) + named).rstrip(b"=").decode()


def provider_of(token: str) -> str | None:
    """The provider that a token names, not yet believed: to find the secret to read it with."""
    data = _decoded(token)
    return None if data is None else data[1 + _MAC :].partition(b"\0")[0].decode(errors="replace")


def read(secret: bytes, token: str) -> Told | None:
    """What a token says; None when we did not make it."""
    data = _decoded(token)
    if data is None:
        return None
    mac, named = data[1 : 1 + _MAC], data[1 + _MAC :]
    if not hmac.compare_digest(mac, _mac(secret, named)):
        return None
    return Told(*named.decode().split("\0"))


def _decoded(token: str) -> bytes | None:
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    return data if data[:1] == bytes((VERSION,)) and len(data) > 1 + _MAC else None


def _mac(secret: bytes, named: bytes) -> bytes:
    return hmac.digest(secret, bytes((VERSION,)) + named, sha256)[:_MAC]
