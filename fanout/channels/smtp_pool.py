"""Connections to one SMTP server, kept for the next mail: to open one (TCP, TLS, login) costs more than a mail does.

A connection is given to one mail at a time and comes back with word on whether it is still in order; it is left after
so many mails or so long without one, for servers cut off those who stay for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from bus.clock import Clock
from bus.outcome import Misconfigured, Outcome, Unavailable
from fanout.channels.smtp_codes import Stage, classify

PATIENCE: Final = 10.0
"""Seconds that a mail waits for one of the connections to be free: a server that keeps them so long is overrun, and
nothing of the mail was said to it yet."""
FAREWELL: Final = 1.0
"""Seconds that a server has to answer QUIT."""


class Tls(Enum):
    """How a connection is protected (RFC 8314 §3.3, RFC 3207)."""

    IMPLICIT = "implicit"
    STARTTLS = "starttls"
    """Demanded: a server that does not offer it is not used."""
    NONE = "none"


PORTS: Final = {Tls.IMPLICIT: 465, Tls.STARTTLS: 587, Tls.NONE: 25}


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach an SMTP server. `timeout`: seconds for each reply; `helo`: the name that we give ourselves."""

    host: str
    port: int
    tls: Tls
    context: ssl.SSLContext | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    helo: str = "localhost"
    timeout: float = 20.0


@dataclass(slots=True)
class Line:
    """A connection, how many mails it carried, and when it was last given back."""

    client: SMTP
    carried: int = 0
    since: float = 0.0


Dial = Callable[[], Awaitable[SMTP | Outcome]]


class Pool:
    """At most `size` connections; each is left after `mails` of them or `idle` seconds without one."""

    def __init__(self, dial: Dial, clock: Clock, *, size: int, mails: int, idle: float) -> None:
        self._dial, self._clock = dial, clock
        self._mails, self._idle = mails, idle
        self._room = asyncio.Semaphore(size)
        self._waiting: deque[Line] = deque()
        """Those that nobody uses, the longest unused first."""

    async def take(self, *, fresh: bool = False) -> Line | Outcome:
        """A connection in order, as far as one can know; to be given back. `fresh`: none that was used before.

        Waits while all are in use, `PATIENCE` at the most. An outcome when there is none to be had.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._room.acquire()
        except TimeoutError:
            return Unavailable("all connections are in use")
        found: Line | Outcome | None = None
        try:
            found = None if fresh else await self._unused()
            if found is None:
                client = await self._dial()
                found = Line(client) if isinstance(client, SMTP) else client
            return found
        finally:
            if not isinstance(found, Line):
                self._room.release()

    async def give_back(self, line: Line, *, good: bool) -> None:
        """End the use of a connection. `good`: the server waits for the next mail."""
        line.carried += 1
        line.since = self._clock.monotonic()
        try:
            if not good:
                line.client.close()
            elif line.carried >= self._mails:
                await _leave(line.client)
            elif line.client.is_connected:
                self._waiting.append(line)
        finally:
            self._room.release()

    async def close(self) -> None:
        """Leave all that are not in use."""
        while self._waiting:
            await _leave(self._waiting.popleft().client)

    async def _unused(self) -> Line | None:
        """The one used last, so that those that are too many fall idle; these are left."""
        while self._waiting and self._clock.monotonic() - self._waiting[0].since >= self._idle:
            await _leave(self._waiting.popleft().client)
        while self._waiting:
            line = self._waiting.pop()
            if line.client.is_connected:
                return line
        return None


async def _leave(client: SMTP) -> None:
    try:
        async with asyncio.timeout(FAREWELL):
            with suppress(SMTPException, OSError, TimeoutError):
                await client.quit()
    except TimeoutError:
        pass
    finally:
        client.close()


async def dial(server: Server) -> SMTP | Outcome:
    """Connect, encrypt and log in; an outcome when it does not come to that."""
    client = SMTP(
        hostname=server.host,
        port=server.port,
        timeout=server.timeout,
        use_tls=server.tls is Tls.IMPLICIT,
        start_tls=False,
        tls_context=server.context,
        local_hostname=server.helo,
    )
    met = _Met()
    try:
        await _introduce(client, server, met)
    except SMTPResponseException as error:
        return classify(met.stage, error.code, error.message)
    except (SMTPException, OSError, TimeoutError) as error:
        return _no_connection(met.stage, error)
    else:
        met.ready = True
        return client
    finally:
        if not met.ready:
            client.close()


@dataclass(slots=True)
class _Met:
    """How far an introduction came."""

    stage: Stage = Stage.GREETING
    ready: bool = False


async def _introduce(client: SMTP, server: Server, met: _Met) -> None:
    await client.connect()
    met.stage = Stage.HELLO
    await client.ehlo()
    if server.tls is Tls.STARTTLS:
        met.stage = Stage.TLS
        await client.starttls(tls_context=server.context)
        await client.ehlo()
    if server.username:
        met.stage = Stage.LOGIN
        await client.login(server.username, server.password)


def _no_connection(stage: Stage, error: BaseException) -> Outcome:
    """Why there is no connection, without the error's own words, which name hosts and sometimes more."""
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return Unavailable("no trustworthy TLS")
    if isinstance(error, TimeoutError):
        return Unavailable("no connection in time")
    if isinstance(error, OSError):
        return Unavailable("no connection")
    # What is left are no failures of the network: the server lacks STARTTLS, AUTH, or every method that we know.
    return Misconfigured(f"the server offers no {'STARTTLS' if stage is Stage.TLS else 'login that we know'}")
