"""The provider token of APNs: who we are, signed with ES256 and used for 50 minutes. Pure.

Apple refuses tokens older than an hour, and punishes who makes a new one more often than every 20 minutes.
"""

from __future__ import annotations

from typing import Final, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

REUSED: Final = 50 * 60.0
"""Seconds a token is used."""
LEAST: Final = 20 * 60.0
"""Seconds that Apple wants between two tokens."""
ID_CHARACTERS: Final = 10


class ProviderToken:
    """The token of one signing key, the same until it grows old."""

    def __init__(self, key: EllipticCurvePrivateKey, key_id: str, team_id: str) -> None:
        self._key, self._key_id, self._team_id = key, key_id, team_id
        self._text = ""
        self._signed_at = 0.0

    @classmethod
    def of(cls, pem: str, key_id: str, team_id: str) -> Self | str:
        """From the `.p8` file of Apple's developer site; a text says what is wrong, and quotes nothing."""
        for name, value in (("key_id", key_id), ("team_id", team_id)):
            if len(value) != ID_CHARACTERS or not value.isascii() or not value.isalnum():
                return f"{name} must be {ID_CHARACTERS} letters and digits"
        try:
            key = load_pem_private_key(pem.encode(), None)
        except (ValueError, TypeError):
            return "the key cannot be read: it is the text of a .p8 file"
        if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
            return "the key is not of P-256"
        return cls(key, key_id, team_id)

    def text(self, now: float) -> str:
        """The token to use. `now`: Unix time in seconds."""
        # A clock that was set back must not make a token of the future last longer.
        if not self._text or not 0 <= now - self._signed_at < REUSED:
            self._sign(now)
        return self._text

    def renewed(self, refused: str, now: float) -> str | None:
        """In place of one that Apple called too old: a new one, or None where Apple would punish it."""
        if refused == self._text:
            if 0 <= now - self._signed_at < LEAST:
                return None
            self._sign(now)
        return self._text

    def _sign(self, now: float) -> None:
        claims = {"iss": self._team_id, "iat": int(now)}
        self._text = jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id})
        self._signed_at = now
