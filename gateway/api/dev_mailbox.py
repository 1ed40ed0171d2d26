"""The development mailbox as JSON: the newest mails that went out, whoever they are for.

`tocsin dev` runs an SMTP server beside the gateway that puts them here (tocsin/mailbox.py).
"""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bus.keys import Keys
from bus.pipe import Pipe
from gateway.api.dev import guard
from gateway.settings import GatewaySettings

PATH: Final = "/dev/mailbox"


def routes(settings: GatewaySettings, pipe: Pipe, keys: Keys) -> list[BaseRoute]:
    """To be mounted with `settings.dev` only."""
    mailbox = _Mailbox(pipe, keys)
    return [
        Route(PATH, guard(mailbox.mails, settings), methods=["GET"]),
        Route(PATH, guard(mailbox.empty, settings), methods=["DELETE"]),
    ]


class _Mailbox:
    def __init__(self, pipe: Pipe, keys: Keys) -> None:
        self._pipe, self._key = pipe, keys.mailbox

    async def mails(self, _: Request) -> Response:
        """`{"mails": […]}`, newest last, each with id, to, subject, text, html, headers, at (Unix seconds)."""
        mails: list[bytes] = await self._pipe.ask("LRANGE", self._key, 0, -1)
        return Response(
            b'{"mails":[' + b",".join(mails) + b"]}",
            media_type="application/json",
            headers={"cache-control": "no-store"},
        )

    async def empty(self, _: Request) -> Response:
        """Throw all away."""
        await self._pipe.ask("DEL", self._key)
        return Response(status_code=204)
