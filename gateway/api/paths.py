"""Routes that take names of people and topics from a path: each a segment of its own, whatever characters it has.

A name may have a slash in it, written %2F. Routes that match the decoded path would take it for the end of a segment:
`/v1/users/a%2Fpreferences` would be the preferences of `a`.
"""

from __future__ import annotations

from urllib.parse import unquote

from starlette.routing import Match, Route
from starlette.types import Scope


class ExactRoute(Route):
    """A route that matches the path as it came on the wire, and decodes each parameter by itself."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        raw = scope.get("raw_path")
        if raw is None:  # which ASGI lets a server leave out
            return super().matches(scope)
        match, child = super().matches({**scope, "path": raw.partition(b"?")[0].decode("latin-1")})
        if match is Match.NONE:
            return match, child
        try:
            named = {name: unquote(value, errors="strict") for name, value in child["path_params"].items()}
        except UnicodeDecodeError:
            return Match.NONE, {}
        return match, {**child, "path_params": named}
