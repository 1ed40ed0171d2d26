"""The vault: what is private is stored sealed, and found again by an index that tells nothing without its key.

Sealing is AES-256-GCM (NIST SP 800-38D). Several keys can be known at once: the first seals, all of them open, so a key
is changed by putting a new one in front, sealing everything anew, and taking the old one away.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bus.settings import BadSetting

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
"""Of random bytes: with one key, 2³² sealings stay within the bound of SP 800-38D §8.3."""
INDEX_DIGITS: Final = 32
_KEY_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why something sealed cannot be opened; tells nothing of what is in it."""

    reason: str


class Vault:
    """Seals, opens and indexes. `keys` are `id:base64url`, `index_key` is base64url. Raises `BadSetting`."""

    def __init__(self, keys: Sequence[str], index_key: str) -> None:
        if not keys:
            raise BadSetting("directory_keys is empty; `tocsin keys` makes one")
        read = [_read_key(text) for text in keys]
        self._ciphers = {key_id: AESGCM(key) for key_id, key in read}
        if len(self._ciphers) < len(read):
            raise BadSetting("directory_keys has two keys with one id")
        self._newest = read[0][0]
        self._index_key = _bytes_of(index_key, "directory_index_key")

    def seal(self, text: str, nonce: bytes, context: str = "") -> str:
        """`<key id>.<base64url>`; `nonce` is 12 random bytes, never used before; opens in the same `context` only.

        The context says whose and what it is, so that nobody can pass one person's address off as another's.
        """
        sealed = self._ciphers[self._newest].encrypt(nonce, text.encode(), _context(self._newest, context))
        return f"{self._newest}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def open(self, sealed: str, context: str = "") -> str | Unreadable:
        """What was sealed."""
        key_id, _, rest = sealed.partition(".")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            return Unreadable("it was sealed with a key that directory_keys does not have")
        try:
            data = base64.b64decode(rest.encode(), altchars=b"-_", validate=True)
            return cipher.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], _context(key_id, context)).decode()
        except (InvalidTag, ValueError):
            return Unreadable("it is damaged, or was sealed for another place")

    def stale(self, sealed: str) -> bool:
        """Whether it is sealed with another key than the first."""
        return sealed.partition(".")[0] != self._newest

    def index(self, kind: str, text: str) -> str:
        """A digest by which `text` can be found, another for each kind: 32 hex digits of HMAC-SHA256."""
        return hmac.digest(self._index_key, f"{kind}\0{text}".encode(), sha256).hex()[:INDEX_DIGITS]


def _context(key_id: str, context: str) -> bytes:
    return f"{key_id}\0{context}".encode()


def _read_key(text: str) -> tuple[str, bytes]:
    key_id, colon, encoded = text.partition(":")
    if not colon or not _KEY_ID.fullmatch(key_id):
        raise BadSetting("directory_keys must be keys of the form id:base64url, the id of letters, digits, - and _")
    return key_id, _bytes_of(encoded, f"directory_keys: the key {key_id}")


def _bytes_of(text: str, what: str) -> bytes:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise BadSetting(f"{what} must be {KEY_BYTES} bytes in base64url; `tocsin keys` makes one")
    return key


def vault_of(keys: Sequence[str], index_key: str) -> Vault | None:
    """The vault of an installation, from `directory_keys` and `directory_index_key`; None where neither is set.

    Raises `BadSetting`.
    """
    return Vault(keys, index_key) if keys or index_key else None


def unsubscribe_secret(index_key: str) -> bytes:
    """The secret of unsubscribe links, which needs no setting of its own. Raises `BadSetting`."""
    return hmac.digest(_bytes_of(index_key, "directory_index_key"), b"unsubscribe", sha256)
