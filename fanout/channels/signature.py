"""Signatures of webhooks as Standard Webhooks 1.0.0 defines them (github.com/standard-webhooks, spec). Pure.

A secret is `whsec_` and base64 of 24 to 64 bytes (HMAC-SHA256, signature `v1`), or `whsk_` and base64 of an Ed25519
private key of 32 bytes (signature `v1a`). Several, separated by spaces, are all signed with, so that a receiver can be
moved from one to the next.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SYMMETRIC: Final = "whsec_"
ASYMMETRIC: Final = "whsk_"
SEED: Final = 32
"""Bytes of an Ed25519 private key; where the public key is behind it, that is not needed."""


def secret_fault(secrets: str) -> str | None:
    """What is wrong with one or several secrets, or None. Never quotes them."""
    found = secrets.split()
    if not found:
        return "must not be empty"
    for secret in found:
        key = _key(secret)
        if key is None:
            return "must be whsec_ or whsk_ followed by base64"
        if secret.startswith(SYMMETRIC) and not 24 <= len(key) <= 64:
            return "must hold 24 to 64 bytes"
        if secret.startswith(ASYMMETRIC) and len(key) not in (SEED, 2 * SEED):
            return "must hold an Ed25519 key of 32 bytes"
    return None


def signed(secrets: str, message: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The three headers. `message`: its id, the same at every attempt; `timestamp`: Unix seconds of this attempt.

    The secrets must have passed `secret_fault`.
    """
    content = b"%b.%d.%b" % (message.encode(), timestamp, body)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(_signature(secret, content) for secret in secrets.split()),
    }


def _signature(secret: str, content: bytes) -> str:
    key = _key(secret) or b""
    if secret.startswith(ASYMMETRIC):
        found = Ed25519PrivateKey.from_private_bytes(key[:SEED]).sign(content)
        return "v1a," + base64.b64encode(found).decode()
    return "v1," + base64.b64encode(hmac.digest(key, content, hashlib.sha256)).decode()


def _key(secret: str) -> bytes | None:
    for prefix in (SYMMETRIC, ASYMMETRIC):
        if secret.startswith(prefix):
            try:
                return base64.b64decode(secret.removeprefix(prefix), validate=True)
            except binascii.Error:
                return None
    return None
