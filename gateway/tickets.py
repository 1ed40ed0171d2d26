"""Tickets: what stands in for a token where a URL is all there is. Good once, for half a minute.

Redis knows a ticket by its hash alone, so whoever reads Redis cannot use one. Pure.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import orjson

from gateway.effects import Claims, Stamp

PREFIX: Final = "tkt_"
"""How every ticket begins; no JWT begins so."""
TTL: Final = 30
"""Seconds within which a ticket must be used."""


def is_ticket(token: str) -> bool:
    """Whether this is a ticket and not a token."""
    return token.startswith(PREFIX)


def digest(ticket: str) -> str:
    """The name under which Redis keeps it (`Keys.ticket`)."""
    return sha256(ticket.encode("utf-8", "replace")).hexdigest()


def pack(claims: Claims) -> bytes:
    """Claims as JSON."""
    return orjson.dumps(
        {
            "user": claims.user,
            "expires_at": claims.expires_at,
            "topics": claims.topics,
            "info": claims.info.decode(),
            "jti": claims.stamp.jti,
            "issued_at": claims.stamp.issued_at,
        }
    )


def unpack(packed: bytes) -> Claims:
    """What `pack` packed."""
    raw = orjson.loads(packed)
    # One that a node of an earlier release made says nothing of its token, which then counts as old.
    stamp = Stamp(raw.get("jti", ""), raw.get("issued_at", 0.0))
    return Claims(raw["user"], raw["expires_at"], tuple(raw["topics"]), raw["info"].encode(), stamp=stamp)
