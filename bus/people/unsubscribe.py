"""Unsubscribe links: a token that says who wants no more of what by which channel, and that only we can make.

It carries no expiry: a link in an old mail must still work (RFC 8058 has it in every mail, and mails are kept).
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


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What somebody asks not to get any more; category "" is what comes without one."""

    user: str
    category: str
    channel: str


def make(secret: bytes, user: str, category: str, channel: str) -> str:
    """A token for a URL: base64url of version, MAC and names. None of the names may have a NUL, and none does."""
    named = "\0".join((channel, category, user)).encode()
    return base64.urlsafe_b64encode(bytes((VERSION,)) + _mac(secret, named) + named).rstrip(b"=").decode()


def read(secret: bytes, token: str) -> Unwanted | None:
    """What a token says; None when we did not make it."""
    if len(token) > MAX_TOKEN or not token.isascii():
        return None
    try:
        data = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    mac, named = data[1 : 1 + _MAC], data[1 + _MAC :]
    if data[:1] != bytes((VERSION,)) or not hmac.compare_digest(mac, _mac(secret, named)):
        return None
    channel, category, user = named.decode().split("\0")
    return Unwanted(user, category, channel)


def _mac(secret: bytes, named: bytes) -> bytes:
    # Half of SHA-256 is enough (RFC 2104 §5); the version is part of what is signed.
    return hmac.digest(secret, bytes((VERSION,)) + named, sha256)[:_MAC]
