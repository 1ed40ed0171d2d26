"""`/u/{token}`: one-click unsubscribing (RFC 8058), and the page for people who follow the link themselves.

Only a POST changes anything: mail scanners follow every link, and none of them may unsubscribe anybody. The page has
no script, needs no cookie, and says in its policy that it loads nothing.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bus.errors import BusError
from bus.people.directory import Directory
from bus.people.unsubscribe import Unwanted, read
from gateway.api.body import read_body
from gateway.api.paths import ExactRoute
from gateway.api.problem import Refusal
from gateway.choices import without
from gateway.people import People

PATH: Final = "/u/{token}"
MAX_BODY: Final = 4_096
_FIELD: Final = "List-Unsubscribe"
_VALUE: Final = "One-Click"
_MULTIPART: Final = re.compile(rb'name="?List-Unsubscribe"?[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\nOne-Click\r\n')

STYLE: Final = (
    ":root{color-scheme:light dark}"
    "body{font:1.125rem/1.5 system-ui,sans-serif;max-width:34rem;margin:15vh auto;padding:0 1.5rem}"
    "h1{font-size:1.5rem;line-height:1.25}"
    "button{font:inherit;font-weight:600;padding:.7rem 1.4rem;border:0;border-radius:.5rem;"
    "background:#1d4ed8;color:#fff;cursor:pointer}"
    "button:focus-visible{outline:3px solid;outline-offset:3px}"
)
CSP: Final = (
    f"default-src 'none'; style-src 'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
CHANNELS: Final = {"email": "by e-mail", "sms": "by text message", "push": "as push notifications"}


class Unsubscribing:
    """The endpoint."""

    def __init__(self, people: People) -> None:
        self._directory: Directory = people.directory
        self._categories = people.categories
        self._secret = people.unsubscribe_secret

    def route(self) -> Route:
        """The path, for both methods."""
        return ExactRoute(PATH, self._serve, methods=["GET", "POST"])

    async def _serve(self, request: Request) -> Response:
        unwanted = read(self._secret, request.path_params["token"]) if self._secret else None
        if unwanted is None:
            return _page(
                404, "This link is not valid", "It may have been cut off. Please open it from the message again."
            )
        if self._categories.of(unwanted.category).required:
            return _page(200, "These messages cannot be turned off", f"{self._what(unwanted)} belong to your account.")
        if request.method != "POST":
            return self._ask(unwanted)
        body = await read_body(request, MAX_BODY)
        if isinstance(body, Refusal):
            return body.response()
        if not _asks(body):
            return self._ask(unwanted, 400)
        try:
            await self._turn_off(unwanted)
        except BusError:
            failed = _page(503, "This did not work", "Please try again in a minute.")
            failed.headers["Retry-After"] = "60"
            return failed
        return _page(200, "You are unsubscribed", f"{self._what(unwanted)} will not come {_how(unwanted)} any more.")

    def _ask(self, unwanted: Unwanted, status: int = 200) -> Response:
        text = f"{self._what(unwanted)} will not come {_how(unwanted)} any more."
        form = (
            f'<form method="post"><input type="hidden" name="{_FIELD}" value="{_VALUE}">'
            '<button type="submit">Unsubscribe</button></form>'
        )
        return _page(status, "Do you want to unsubscribe?", text, form)

    def _what(self, unwanted: Unwanted) -> str:
        title = self._categories.of(unwanted.category).title
        return f"Messages about “{title}”" if title else "Messages of this kind"

    async def _turn_off(self, unwanted: Unwanted) -> None:
        # Somebody who was erased is not remembered again because of an old mail.
        if await self._directory.exists(unwanted.user):
            await self._directory.change_preferences(
                unwanted.user, lambda old: without(old, unwanted.category, unwanted.channel)
            )


def _how(unwanted: Unwanted) -> str:
    return CHANNELS.get(unwanted.channel, f"by {unwanted.channel}")


def _asks(body: bytes) -> bool:
    """Whether it is what RFC 8058 §3.2 has in the body, as a form of either kind."""
    if _MULTIPART.search(body):
        return True
    try:
        return parse_qs(body.decode("ascii"), max_num_fields=8).get(_FIELD) == [_VALUE]
    except ValueError:
        return False


def _page(status: int, title: str, text: str, more: str = "") -> Response:
    html = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1><p>{escape(text)}</p>{more}</main></body>"
        "</html>"
    )
    return Response(html, status, {"Content-Security-Policy": CSP}, "text/html")
