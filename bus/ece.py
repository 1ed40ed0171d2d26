"""Encryption of Web Push messages: RFC 8291, which is RFC 8188's `aes128gcm` under a key that only the browser shares.

It stands on the bus because a sender encrypts what the pretend phone of a development gateway must decrypt, and the
gateway imports nothing of fan-out. Nothing is drawn here: the ephemeral key and the salt are arguments, fresh ones for
each message.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDH,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MAX_BODY: Final = 4_096
"""Bytes that every push service takes (RFC 8030 §7.2)."""
POINT_BYTES: Final = 65
"""A P-256 point, uncompressed."""
SALT_BYTES: Final = 16
AUTH_BYTES: Final = 16
MAX_PLAINTEXT: Final = 3_993
"""What is left of `MAX_BODY` for the message: less header, delimiter and tag (RFC 8291 §4)."""

_TAG_BYTES: Final = 16
_RECORD_SIZE: Final = MAX_BODY.to_bytes(4, "big")
_HEADER_BYTES: Final = SALT_BYTES + 4 + 1 + POINT_BYTES
_LAST: Final = 0x02
"""Delimiter of the last record, and a push message has only one (RFC 8188 §2, RFC 8291 §4)."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A key, or an encrypted message, is not of its form."""

    reason: str


@dataclass(frozen=True, slots=True)
class Receiver:
    """What a browser gave away so that it can be written to (`PushSubscription.getKey`)."""

    public: bytes
    """`p256dh`: its public key as an uncompressed point."""
    auth: bytes
    """Its authentication secret, 16 bytes."""


# Text and points -------------------------------------------------------------------------------------------------


def to_text(raw: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_text(text: str) -> bytes | None:
    """What base64url stands for, with or without its padding; None when it is none.

    The alphabet of plain base64 is taken too, as browsers' own scripts once sent it.
    """
    text = text.rstrip("=").replace("+", "-").replace("/", "_")
    if not text.isascii() or not text.replace("-", "a").replace("_", "a").isalnum() or len(text) % 4 == 1:
        return None
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def point_of(key: EllipticCurvePrivateKey) -> bytes:
    """The public half of a key as an uncompressed point."""
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def receiver(p256dh: str, auth: str) -> Receiver | Unreadable:
    """The keys of a subscription as they came from a browser; whether the point lies on the curve is checked too."""
    public, secret = from_text(p256dh), from_text(auth)
    if public is None or _point(public) is None:
        return Unreadable("p256dh is no uncompressed point of P-256 in base64url")
    if secret is None or len(secret) != AUTH_BYTES:
        return Unreadable("auth is not 16 bytes in base64url")
    return Receiver(public, secret)


def _point(raw: bytes) -> EllipticCurvePublicKey | None:
    # Only the form that RFC 8291 §3 names: a compressed point would be read here and by no browser.
    if len(raw) != POINT_BYTES:
        return None
    try:
        return EllipticCurvePublicKey.from_encoded_point(SECP256R1(), raw)
    except ValueError:
        return None


# Messages --------------------------------------------------------------------------------------------------------


def encrypt(plaintext: bytes, to: Receiver, *, key: EllipticCurvePrivateKey, salt: bytes) -> bytes | Unreadable:
    """The body of a push request; at most `MAX_PLAINTEXT` bytes fit.

    `key`, on P-256, and `salt`, 16 bytes, must be new for every message: the same pair twice gives its content away.
    """
    assert len(plaintext) <= MAX_PLAINTEXT
    assert len(salt) == SALT_BYTES
    public = _point(to.public)
    if public is None:
        return Unreadable("p256dh is no point of P-256")
    own = point_of(key)
    content, nonce = _keys(key.exchange(ECDH(), public), to, own, salt)
    sealed = AESGCM(content).encrypt(nonce, plaintext + bytes((_LAST,)), None)
    return b"".join((salt, _RECORD_SIZE, bytes((POINT_BYTES,)), own, sealed))


def decrypt(body: bytes, key: EllipticCurvePrivateKey, auth: bytes) -> bytes | Unreadable:
    """What a browser that has this key and this authentication secret reads in the body of a push request."""
    if len(body) < _HEADER_BYTES + _TAG_BYTES + 1 or body[SALT_BYTES + 4] != POINT_BYTES:
        return Unreadable("no header with a P-256 point")
    salt, size = body[:SALT_BYTES], int.from_bytes(body[SALT_BYTES : SALT_BYTES + 4], "big")
    sender, sealed = body[_HEADER_BYTES - POINT_BYTES : _HEADER_BYTES], body[_HEADER_BYTES:]
    if len(sealed) > size:
        return Unreadable("more than one record")
    public = _point(sender)
    if public is None:
        return Unreadable("its point is not on P-256")
    content, nonce = _keys(key.exchange(ECDH(), public), Receiver(point_of(key), auth), sender, salt)
    try:
        padded = AESGCM(content).decrypt(nonce, sealed, None).rstrip(b"\0")
    except InvalidTag:
        return Unreadable("not encrypted for this key")
    if not padded or padded[-1] != _LAST:
        return Unreadable("no end of the last record")
    return padded[:-1]


def _keys(shared: bytes, to: Receiver, sender: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """Content key and nonce (RFC 8291 §3.4). Each expansion of HKDF fits into one block, so it is one HMAC."""
    first = _hmac(_hmac(to.auth, shared), b"WebPush: info\0" + to.public + sender + b"\1")
    second = _hmac(salt, first)
    content = _hmac(second, b"Content-Encoding: aes128gcm\0\1")[:16]
    return content, _hmac(second, b"Content-Encoding: nonce\0\1")[:12]


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
