"""E-mail over SMTP: one recipient per mail, connections kept, and the server's codes read exactly.

What was refused before the content was handed over had no effect, and the next attempt costs nothing; from then on a
lost connection may hide a success, and the repeat carries the same Message-ID.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from email.errors import MessageError
from email.utils import parseaddr
from functools import partial
from typing import Any, Final, Self

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from bus.clock import Clock
from bus.outcome import Done, Expired, Gone, Outcome, Rejected, Retry, Unavailable
from fanout.channels import mail_address
from fanout.channels.delivery import Delivery, EmailAddress, Mail
from fanout.channels.letter import From, build
from fanout.channels.mail_address import Mailbox
from fanout.channels.smtp_codes import CLOSING, Stage, classify
from fanout.channels.smtp_pool import PORTS, Line, Pool, Server, Tls, dial
from fanout.channels.table import Table

KNOWN: Final = (
    "host",
    "port",
    "tls",
    "ca",
    "username",
    "password",
    "from",
    "reply_to",
    "bounces",
    "helo",
    "connections",
    "mails",
    "idle",
    "timeout",
)
LOCAL: Final = ("localhost", "127.0.0.1", "::1")
"""Where a password may go without encryption."""


class Email:
    """One SMTP server. `bounces`: the envelope's sender, where the server's later complaints go."""

    def __init__(self, name: str, pool: Pool, clock: Clock, sender: From, bounces: Mailbox) -> None:
        self.name = name
        self._pool, self._clock, self._sender, self._bounces = pool, clock, sender, bounces

    @classmethod
    def from_settings(cls, name: str, table: Mapping[str, Any], clock: Clock, *, allow_private: bool) -> Self:
        """From `[deliver.email.NAME]`. Raises `BadSetting`. The operator names the server, so it may be private."""
        read = Table(f"deliver.email.{name}", table, KNOWN)
        called, address = parseaddr(read.text("from"))
        sender = _mailbox(read, "from", address)
        reply_to = _mailbox(read, "reply_to", read.text("reply_to")) if "reply_to" in table else None
        bounces = _mailbox(read, "bounces", read.text("bounces")) if "bounces" in table else sender
        try:
            writer = From.of(sender, called, reply_to)
        except ValueError:
            raise read.fault("from", "must have no control characters") from None
        pool = Pool(
            partial(dial, _server(read, sender.domain)),
            clock,
            size=read.whole("connections", 8, 1, 1_000),
            mails=read.whole("mails", 100, 1, 1_000_000),
            idle=read.number("idle", 30.0, 0.0, 3_600.0),
        )
        return cls(name, pool, clock, writer, bounces)

    async def send(self, delivery: Delivery) -> Outcome:
        """See `Sender`."""
        target, mail, now = delivery.target, delivery.message, self._clock.wall()
        if not isinstance(target, EmailAddress) or not isinstance(mail, Mail):
            return Rejected("this is no mail")
        if delivery.expires_at is not None and now >= delivery.expires_at:
            return Expired()
        if (to := mail_address.read(target.address)) is None:
            return Gone("the address is none that mail can go to")
        try:
            raw = build(
                mail,
                sender=self._sender,
                to=to,
                name=target.name,
                delivery_id=delivery.id,
                now=now,
                unsubscribe=delivery.unsubscribe,
            )
        except (ValueError, MessageError):
            return Rejected("not sent: a header holds what no header may hold")
        found = await self._hand_over(to, raw, fresh=False)
        return await self._hand_over(to, raw, fresh=True) or _lost(Stage.SENDER) if found is None else found

    async def close(self) -> None:
        """See `Sender`."""
        await self._pool.close()

    async def _hand_over(self, to: Mailbox, raw: bytes, *, fresh: bool) -> Outcome | None:
        """Send it on one connection. None: that connection was kept and had ended meanwhile, so nothing was said."""
        line = await self._pool.take(fresh=fresh)
        if not isinstance(line, Line):
            return line
        mailing = _Mailing(line.client)
        try:
            return await mailing.run(self._bounces, to, raw, kept=line.carried > 0)
        finally:
            await self._pool.give_back(line, good=mailing.good)


class _Mailing:
    """One mail on one connection. `good`: the connection can carry another one."""

    def __init__(self, client: SMTP) -> None:
        self._client = client
        self._stage = Stage.SENDER
        self.good = False

    async def run(self, sender: Mailbox, to: Mailbox, raw: bytes, *, kept: bool) -> Outcome | None:
        if to.international and not self._client.supports_extension("smtputf8"):
            self.good = True
            return Rejected("the server takes no addresses outside of ASCII (SMTPUTF8)")
        try:
            await self._say(sender, to, raw)
        except SMTPResponseException as error:
            if kept and self._stage is Stage.SENDER and error.code == CLOSING:
                return None
            await self._tidy(error.code)
            return classify(self._stage, error.code, error.message)
        except TimeoutError:
            return _lost(self._stage, "no answer in time")
        except (SMTPException, OSError):
            return None if kept and self._stage is Stage.SENDER else _lost(self._stage)
        self.good = True
        return Done()

    async def _say(self, sender: Mailbox, to: Mailbox, raw: bytes) -> None:
        wide = to.international or sender.international
        options = ["SMTPUTF8", "BODY=8BITMIME"] if wide else []
        encoding = "utf-8" if wide else "ascii"
        await self._client.mail(sender.address, options=options, encoding=encoding)
        self._stage = Stage.RECIPIENT
        await self._client.rcpt(to.address, encoding=encoding)
        self._stage = Stage.CONTENT
        await self._client.data(raw)

    async def _tidy(self, code: int) -> None:
        """After a refusal: a server that was told a sender is told to forget it."""
        if code == CLOSING or code < 0 or not self._client.is_connected:
            return
        try:
            if self._stage is Stage.RECIPIENT:
                await self._client.rset()
        except (SMTPException, OSError, TimeoutError):
            return
        self.good = True


def _lost(stage: Stage, why: str = "the connection was lost") -> Outcome:
    """What a connection that ends means: only once the content is on its way can it have been a success."""
    return Retry(f"{why} {stage.value}") if stage is Stage.CONTENT else Unavailable(f"{why} {stage.value}")


# Settings ----------------------------------------------------------------------------------------------------------


def _mailbox(read: Table, key: str, address: str) -> Mailbox:
    if (found := mail_address.read(address)) is None or found.international:
        raise read.fault(key, "must hold a mail address in ASCII")
    return found


def _server(read: Table, domain: str) -> Server:
    try:
        tls = Tls(read.text("tls", Tls.STARTTLS.value))
    except ValueError:
        raise read.fault("tls", f"must be one of {', '.join(tls.value for tls in Tls)}") from None
    host, username, password = read.text("host"), read.text("username", ""), read.text("password", "")
    if username and tls is Tls.NONE and host not in LOCAL:
        raise read.fault("tls", "must not be none where there is a login: the password would be readable")
    helo = read.text("helo", domain)
    if not helo.isascii() or not helo.isprintable() or " " in helo or not helo:
        raise read.fault("helo", "must be a host name")
    return Server(
        host=host,
        port=read.whole("port", PORTS[tls], 1, 65_535),
        tls=tls,
        context=None if tls is Tls.NONE else _context(read),
        username=username,
        password=password,
        helo=helo,
        timeout=read.number("timeout", 20.0, 0.05, 600.0),
    )


def _context(read: Table) -> ssl.SSLContext:
    """Whom to trust: those whom the system does, or the certificates in the file `ca`."""
    try:
        return ssl.create_default_context(cafile=read.text("ca", "") or None)
    except (OSError, ssl.SSLError):
        raise read.fault("ca", "is no file of certificates that can be read") from None
