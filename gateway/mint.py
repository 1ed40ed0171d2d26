"""Making a user's token, for development and tests; in production your own application makes them.

Pure: the time is an argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jwt


def mint(
    secret: str,
    *,
    user: str,
    issuer: str,
    audience: str,
    now: float,
    ttl: int,
    topics: Sequence[str] = (),
    info: Any = None,
    jti: str = "",
) -> str:
    """An HS256 JWT (RFC 7519) for `user`, good for `ttl` seconds from Unix time `now`.

    `topics` are granted beyond what the namespaces open; `info` is what presence shows of the user; `jti` is
    the token's own id, by which it can be revoked alone.
    """
    claims: dict[str, Any] = {"sub": user, "iss": issuer, "aud": audience, "iat": int(now), "exp": int(now) + ttl}
    if topics:
        claims["topics"] = list(topics)
    if info is not None:
        claims["info"] = info
    if jti:
        claims["jti"] = jti
    return jwt.encode(claims, secret, algorithm="HS256")
