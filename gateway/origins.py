"""Which pages may connect: an exact list of origins, and the node's own. Pure."""

from __future__ import annotations

from collections.abc import Iterable


class Origins:
    """An allow-list. Matching is exact on scheme, host and port, never by a part of the text."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.rstrip("/").lower() for origin in allowed)

    def allowed(self, origin: str | None, host: str) -> bool:
        """No origin means no browser, which cross-site requests need; `host` is the request's own Host."""
        if origin is None:
            return True
        origin = origin.lower()
        scheme, found, authority = origin.partition("://")
        if not found or scheme not in ("http", "https"):
            return False
        return origin in self._allowed or authority == host.lower()
