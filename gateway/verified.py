"""Tokens that were verified a moment ago: who comes back brings the same one, and to check its signature again is a
fifth of what a connect costs.

Kept is what was read from them, under their digest, never they themselves; and never whether they still hold, which is
judged at each use. Pure.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from gateway.effects import Claims

MOST: Final = 16_384
"""Tokens of which it is kept: some 300 bytes each, so 5 MB."""
LONGEST: Final = 2_048
"""Characters of a token of which it is kept: what is read from one is no longer than itself."""


class VerifiedTokens:
    """What the newest `most` grant that were verified with one set of keys. `secret` (at most 64 bytes) keys the
    digests, so that nobody can make two tokens with the same."""

    __slots__ = ("_claims", "_keys", "_most", "_secret")

    def __init__(self, secret: bytes, most: int = MOST) -> None:
        self._secret, self._most = secret, most
        self._claims: dict[bytes, Claims] = {}
        """The one used last at the end."""
        self._keys: object = None

    def __len__(self) -> int:
        return len(self._claims)

    def under(self, keys: object) -> None:
        """These are the keys now. What was verified with others is forgotten."""
        if keys is not self._keys:
            self._keys = keys
            self._claims.clear()

    def find(self, token: str, now: float) -> Claims | None:
        """What a token grants, if it was verified; one that ended before Unix time `now` is forgotten."""
        if len(token) > LONGEST:
            return None
        digest = self._digest(token)
        claims = self._claims.pop(digest, None)
        if claims is None or claims.expires_at <= now:
            return None
        self._claims[digest] = claims
        return claims

    def keep(self, token: str, claims: Claims) -> None:
        """It was verified, and grants this."""
        if len(token) > LONGEST:
            return
        digest = self._digest(token)
        self._claims.pop(digest, None)
        self._claims[digest] = claims
        if len(self._claims) > self._most:
            del self._claims[next(iter(self._claims))]

    def _digest(self, token: str) -> bytes:
        return blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()
