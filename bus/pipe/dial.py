"""A connection made and introduced: TLS, who we are, which database, our name; and the scripts loaded."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any, Final

from bus.address import Login, Place, Socket, Tls
from bus.clock import Clock
from bus.connect import CONNECT_TIMEOUT
from bus.errors import BusDown, BusError
from bus.pipe.line import Arg, Line
from bus.scripts import Script
from bus.settings import BadSetting

NOBODY: Final = Login()


@dataclass(frozen=True, slots=True)
class Dialer:
    """How connections of one kind are made. `master`: a server that is none is refused (ROLE)."""

    clock: Clock
    name: str = ""
    login: Login = NOBODY
    context: ssl.SSLContext | None = None
    db: int = 0
    scripts: tuple[Script, ...] = ()
    fatal: frozenset[str] = frozenset()
    master: bool = False

    async def dial(self, place: Place | Socket) -> Line:
        """A new connection. Raises `OSError`, `TimeoutError`, `BusError`."""
        line = Line(self.clock, self.fatal)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await self._connect(line, place)
                for reply in await line.asks(self._greeting()):
                    _raise(reply)
                if self.master:
                    _check_role(await line.asks([("ROLE",)]))
        except BaseException:
            line.drop("could not connect")
            raise
        return line

    async def _connect(self, line: Line, place: Place | Socket) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(place, Socket):
            await loop.create_unix_connection(lambda: line, place.path)
        else:
            await loop.create_connection(lambda: line, place.host, place.port, ssl=self.context)

    def _greeting(self) -> list[tuple[Arg, ...]]:
        commands: list[tuple[Arg, ...]] = []
        if self.login.password:
            user = (self.login.user,) if self.login.user else ()
            commands.append(("AUTH", *user, self.login.password))
        if self.db:
            commands.append(("SELECT", self.db))
        if self.name:
            commands.append(("CLIENT", "SETNAME", self.name))
        commands += [("SCRIPT", "LOAD", script.text) for script in self.scripts]
        return commands


def _raise(reply: Any) -> None:
    if isinstance(reply, BusError):
        raise reply


def _check_role(replies: list[Any]) -> None:
    (reply,) = replies
    _raise(reply)
    if reply[0] != b"master":
        raise BusDown("the server that the sentinels name is no master yet")


def tls_context(tls: Tls | None) -> ssl.SSLContext | None:
    """Checks of certificates, and our own one. Raises `BadSetting` when a file cannot be used."""
    if tls is None:
        return None
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            context.load_cert_chain(tls.cert, tls.key or None)
    except OSError as error:  # an SSLError is one
        files = ", ".join(file for file in (tls.ca, tls.cert, tls.key) if file)
        pem = "no certificate or key in PEM, or they do not belong together"
        reason = pem if isinstance(error, ssl.SSLError) else error.strerror
        raise BadSetting(f"redis_url: a file of its TLS options cannot be used ({files}): {reason}") from None
    return context


def why(error: BaseException) -> str:
    """What to tell of a connection that could not be made."""
    return str(error) or type(error).__name__
