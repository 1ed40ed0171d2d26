"""An SMTP server on loopback (aiosmtpd) that takes mail, refuses it, hangs, or drops the connection, as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTPUTF8
from enum import Enum, auto
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Does(Enum):
    """What the server does instead of answering."""

    DROP = auto()
    """The connection is cut."""
    HANG = auto()
    """Nothing is ever said."""


class At(Enum):
    """Where in a connection it does so."""

    GREETING = auto()
    HELLO = auto()
    SENDER = auto()
    RECIPIENT = auto()
    CONTENT_BEGIN = auto()
    """After 354, before the content was read."""
    CONTENT = auto()
    """The content was read, and nothing was said of it."""
    IDLE = auto()
    """Right after a mail was accepted."""


@dataclass
class Taken:
    """A mail that the server took."""

    sender: str
    recipients: list[str]
    options: list[str]
    raw: bytes
    tls: bool
    login: str

    @property
    def message(self) -> EmailMessage:
        found = message_from_bytes(self.raw, policy=SMTPUTF8)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class SmtpServer:
    """What the server does and what it saw."""

    port: int = 0
    taken: list[Taken] = field(default_factory=list)
    seen: Counter[At] = field(default_factory=Counter)
    """How often each place was reached; GREETING counts connections."""
    accounts: dict[str, str] = field(default_factory=dict)
    next: dict[At, deque[str | Does | None]] = field(default_factory=lambda: defaultdict(deque))
    """Each entry once, in order; None is an ordinary answer."""
    always: dict[At, str | Does] = field(default_factory=dict)
    open: list[_Talk] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    """What went wrong in here."""

    def take(self, at: At) -> str | Does | None:
        """What to do now, None for the ordinary thing."""
        self.seen[at] += 1
        return self.next[at].popleft() if self.next[at] else self.always.get(at)

    def authenticate(self, _: SMTP, __: Session, ___: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = self.accounts.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=known, handled=False, auth_data=data)


class _Hooks:
    """What aiosmtpd calls."""

    def __init__(self, server: SmtpServer) -> None:
        self.server = server

    async def handle_EHLO(
        self, talk: _Talk, session: Session, _: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        said = await talk.act(At.HELLO)
        return [said] if said else responses

    async def handle_MAIL(self, talk: _Talk, _: Session, envelope: Envelope, address: str, options: list[str]) -> str:
        if said := await talk.act(At.SENDER):
            return said
        envelope.mail_from, envelope.mail_options = address, options
        return "250 OK"

    async def handle_RCPT(self, talk: _Talk, _: Session, envelope: Envelope, address: str, __: list[str]) -> str:
        if said := await talk.act(At.RECIPIENT):
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, talk: _Talk, session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        taken = Taken(
            envelope.mail_from or "",
            list(envelope.rcpt_tos),
            list(envelope.mail_options),
            envelope.content,
            session.ssl is not None,
            session.auth_data.login.decode() if isinstance(session.auth_data, LoginPassword) else "",
        )
        said = await talk.act(At.CONTENT)
        if not said or said.startswith("2"):
            self.server.taken.append(taken)
        return said or "250 OK"

    async def handle_exception(self, error: Exception) -> str:
        self.server.faults.append(error)
        return "500 the test's server failed"


class _Talk(SMTP):
    """One connection."""

    def __init__(self, server: SmtpServer, loop: asyncio.AbstractEventLoop, **options: Any) -> None:
        self._server = server
        super().__init__(
            _Hooks(server), hostname="loopback", ident="test", loop=loop, enable_SMTPUTF8=True, timeout=60, **options
        )
        server.open.append(self)

    async def act(self, at: At) -> str:
        """A reply, or '' for the ordinary one; does not come back where there is none."""
        match self._server.take(at):
            case Does.DROP:
                assert isinstance(self.transport, asyncio.Transport)
                self.transport.abort()
                await asyncio.Event().wait()  # until the end of the connection ends this task
            case Does.HANG:
                await asyncio.Event().wait()
            case str(reply):
                return reply
        return ""

    async def _handle_client(self) -> None:
        if said := await self.act(At.GREETING):
            await self.push(said)
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.close()
            return
        await super()._handle_client()

    async def smtp_DATA(self, arg: str) -> None:
        if self._server.next[At.CONTENT_BEGIN] or At.CONTENT_BEGIN in self._server.always:
            await self.push("354 go on")
            await self.act(At.CONTENT_BEGIN)
        before = len(self._server.taken)
        await super().smtp_DATA(arg)
        if len(self._server.taken) > before:
            await self.act(At.IDLE)

    async def ended(self) -> None:
        if isinstance(self.transport, asyncio.Transport):
            self.transport.abort()
        if (task := self._handler_coroutine) is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await task


@asynccontextmanager
async def smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, **options: Any
) -> AsyncIterator[SmtpServer]:
    """A server on a free port, for the length of the block; `tls` from the first byte on, `starttls` when asked."""
    loop = asyncio.get_running_loop()
    server = SmtpServer()

    def talk() -> _Talk:
        more = {"authenticator": server.authenticate, "auth_require_tls": False, **options}
        return _Talk(server, loop, tls_context=starttls, **more)

    listening = await loop.create_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        server.port = listening.sockets[0].getsockname()[1]
        yield server
    finally:
        listening.close()
        for one in server.open:
            await one.ended()
        await listening.wait_closed()
    assert server.faults == []
