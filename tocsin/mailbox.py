"""The development mailbox: an SMTP server that takes every mail, delivers none, and keeps the newest for the demo page.

Part of `tocsin dev`. It listens on this machine alone and asks nobody who they are.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from secrets import token_hex
from typing import Any, Final

import orjson
from aiosmtpd.smtp import SMTP, Envelope, Session

from bus.clock import Clock, SystemClock
from bus.errors import BusError
from bus.keys import Keys
from bus.pipe import Pipe
from bus.settings import BusSettings
from tocsin.devconfig import MAILBOX_HOST

KEPT: Final = 200
"""Mails."""
TTL: Final = 86_400
"""Seconds after the last mail at which all are forgotten."""
MAX_MAIL: Final = 1_048_576
"""Bytes."""
LATER: Final = "451 4.3.0 Redis does not take it now"


def mail_of(raw: bytes, to: Sequence[str], now: float) -> dict[str, Any]:
    """A mail as the page shows it: to, subject, text, html (null without), headers, at (Unix seconds), and an id."""
    message = message_from_bytes(raw, policy=SMTPUTF8)
    assert isinstance(message, EmailMessage)
    headers: dict[str, str] = {}
    for name, value in message.items():
        said = _clean(str(value))
        headers[name] = f"{headers[name]}\n{said}" if name in headers else said
    return {
        "id": token_hex(8),
        "to": [_clean(address) for address in to],
        "subject": headers.get("Subject", ""),
        "text": _body(message, "plain") or "",
        "html": _body(message, "html"),
        "headers": headers,
        "at": now,
    }


def _body(message: EmailMessage, kind: str) -> str | None:
    part = message.get_body((kind,))
    if not isinstance(part, EmailMessage):
        return None
    try:
        content = part.get_content()
    except (LookupError, ValueError):  # of a charset that nobody knows
        content = part.get_payload(decode=True)
    text = content if isinstance(content, str) else bytes(content).decode(errors="replace")
    return _clean(text.replace("\r\n", "\n"))


def _clean(text: str) -> str:
    """Without halves of surrogate pairs, by which the parser keeps bytes that are no UTF-8."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


class Handler:
    """What the SMTP server calls."""

    def __init__(self, pipe: Pipe, keys: Keys, clock: Clock) -> None:
        self._pipe, self._key, self._clock = pipe, keys.mailbox, clock

    async def handle_DATA(self, _: SMTP, __: Session, envelope: Envelope) -> str:
        """Keep a mail; the reply."""
        raw = envelope.original_content or b""
        mail = orjson.dumps(mail_of(raw, envelope.rcpt_tos, self._clock.wall()))
        replies = await self._pipe.asks(
            [("RPUSH", self._key, mail), ("LTRIM", self._key, -KEPT, -1), ("EXPIRE", self._key, TTL)]
        )
        return LATER if any(isinstance(reply, BusError) for reply in replies) else "250 2.0.0 kept"


async def listen(handler: Handler, port: int) -> asyncio.Server:
    """The server, on loopback; port 0: any free one."""
    loop = asyncio.get_running_loop()

    def talk() -> SMTP:
        return SMTP(
            handler, hostname="mailbox", ident="tocsin", loop=loop, enable_SMTPUTF8=True, data_size_limit=MAX_MAIL
        )

    return await loop.create_server(talk, MAILBOX_HOST, port)


async def run(settings: BusSettings, port: int) -> None:
    """Serve until told to stop. Raises `OSError` when the port is taken."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    clock = SystemClock()
    pipe = Pipe(settings.redis_url, name="mailbox", clock=clock, scripts=False)
    async with asyncio.TaskGroup() as group:
        piping = group.create_task(pipe.run())
        server = await listen(Handler(pipe, Keys(settings.prefix, settings.partitions), clock), port)
        await stop.wait()
        server.close()
        piping.cancel()
