"""VAPID (RFC 8292): who we are, signed for one push service at a time, and signed again only when that grows old.

A token proves the same thing for every message to a service, so it is kept until an hour before its end. Whether a
service has ever taken it is kept beside it: a service that has, and then refuses one subscription, does not refuse us.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    derive_private_key,
    generate_private_key,
)

from bus.ece import from_text, point_of, to_text

LIFETIME: Final = 12 * 3600.0
"""Seconds a token is good; services refuse more than 24 hours (RFC 8292 §2), and their clocks may differ from ours."""
RENEWAL: Final = 3600.0
"""Seconds before its end at which it is not used any more."""
KEPT: Final = 256
"""Services whose tokens are kept; there are a handful in the world."""

_KEY_BYTES: Final = 32
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


def origin_of(url: str) -> str:
    """Scheme, host and port of a URL as an origin is written (RFC 6454 §6.2): a default port is left out."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    plain = parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme)
    return f"{parts.scheme}://{host}" if plain else f"{parts.scheme}://{host}:{parts.port}"


@dataclass(slots=True)
class _Standing:
    header: str
    renew_at: float
    proven: bool


class Vapid:
    """An application server's identity. `subject`: how the operators of a push service reach us, mailto: or https:."""

    def __init__(self, key: EllipticCurvePrivateKey, subject: str) -> None:
        self._key = key
        self._subject = subject
        self._standings: OrderedDict[str, _Standing] = OrderedDict()
        self.public = to_text(point_of(key))
        """What a page hands to `PushManager.subscribe` as `applicationServerKey`."""

    @classmethod
    def of(cls, private: str, subject: str) -> Self | str:
        """From settings; a text says what is wrong. `private`: the key's number in base64url, as of `generate`."""
        raw = from_text(private)
        if raw is None or len(raw) != _KEY_BYTES:
            return "the VAPID key must be 32 bytes in base64url"
        if not subject.startswith(("mailto:", "https://")) or not subject.split(":", 1)[1].strip("/"):
            return "the VAPID subject must begin with mailto: or https://"
        try:
            return cls(derive_private_key(int.from_bytes(raw, "big"), SECP256R1()), subject)
        except ValueError:
            return "the VAPID key is no private key of P-256"

    def authorization(self, origin: str, now: float) -> str:
        """The header `Authorization` for requests to a push service. `now`: Unix time in seconds."""
        standing = self._standings.get(origin)
        if standing is None or now >= standing.renew_at:
            standing = self._signed(origin, now, proven=standing is not None and standing.proven)
        self._standings.move_to_end(origin)
        return standing.header

    def prove(self, origin: str) -> None:
        """Note that a service took what we signed."""
        if (standing := self._standings.get(origin)) is not None:
            standing.proven = True

    def proven(self, origin: str) -> bool:
        """Whether this service ever took what we signed."""
        standing = self._standings.get(origin)
        return standing is not None and standing.proven

    def _signed(self, origin: str, now: float, *, proven: bool) -> _Standing:
        claims = {"aud": origin, "exp": int(now + LIFETIME), "sub": self._subject}
        token = jwt.encode(claims, self._key, algorithm="ES256")
        made = _Standing(f"vapid t={token}, k={self.public}", now + LIFETIME - RENEWAL, proven)
        self._standings[origin] = made
        if len(self._standings) > KEPT:
            self._standings.popitem(last=False)
        return made


def generate() -> tuple[str, str]:
    """A new key pair as settings have it: the private number and the public point, both in base64url."""
    key = generate_private_key(SECP256R1())
    number = key.private_numbers().private_value
    return to_text(number.to_bytes(_KEY_BYTES, "big")), to_text(point_of(key))
