"""The one HTTP client of all senders: no redirects, no cookies, bounded answers, and failures as values.

Where URLs come from outside (webhooks, push endpoints), the address is checked as the socket for it is made, so a name
that resolves to something else at the second look gains nothing.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
from yarl import URL

from fanout.channels.addresses import is_public

MAX_ANSWER: Final = 65_536
"""Bytes that are read of an answer; the connection of a longer one is dropped."""
MAX_URL: Final = 2_048
CONNECT_TIMEOUT: Final = 10.0
PORTS: Final = (80, 443)
"""Where a URL from outside may lead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The provider answered; header names are lower case, the body is cut at `MAX_ANSWER`."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Unreached:
    """The request did not get there: no address, no connection, no TLS. It had no effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The connection was lost, or the time was over, before there was an answer: it may have had its effect."""

    reason: str


@dataclass(frozen=True, slots=True)
class Forbidden:
    """The URL leads where none from outside may lead."""

    reason: str


Result = Answer | Unreached | Broken | Forbidden


class _NotPublic(OSError):
    """An address was refused. One text for all, so that several of them still read as one."""

    def __init__(self) -> None:
        super().__init__("the address is not public")


class Http:
    """A pool of connections. `allow_private`: for providers that the operator named, and for tests and development.

    `timeout`: seconds for a whole request; `connections`: most at a time; `tls`: whom to trust, if not whom
    the system does.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout: float = 20.0,
        connections: int = 100,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_private = allow_private
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, CONNECT_TIMEOUT))
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        basic: tuple[str, str] | None = None,
        method: str = "POST",
    ) -> Result:
        """Send one request. `basic`: user and password. Never raises for what the network or the other side does."""
        target = self._target(url)
        if isinstance(target, Forbidden):
            return target
        if basic is not None:
            headers = {**headers, "Authorization": aiohttp.encode_basic_auth(*basic)}
        try:
            async with self._open().request(
                method, target, headers=headers, data=body, allow_redirects=False
            ) as response:
                found = {name.lower(): value for name, value in response.headers.items()}
                return Answer(response.status, found, await _read(response))
        except aiohttp.ClientConnectorError as error:
            return _unreached(error)
        except aiohttp.InvalidURL:
            return Forbidden("the URL is not of its form")
        except TimeoutError as error:
            early = isinstance(error, aiohttp.ConnectionTimeoutError)
            return Unreached("no connection in time") if early else Broken("no answer in time")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Broken(f"no proper answer: {type(error).__name__}")

    # Connections -------------------------------------------------------------------------------------------------

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=self._connections,
                ssl=self._tls or True,
                ttl_dns_cache=60,
                socket_factory=None if self._allow_private else _public_socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
                headers={"User-Agent": "tocsin", "Accept-Encoding": "identity"},
            )
        return self._session

    def _target(self, url: str) -> URL | Forbidden:
        if self._allow_private:
            return URL(url)
        if (fault := url_fault(url)) is not None:
            return Forbidden(fault)
        return URL(url)


def url_fault(url: str, *, https_only: bool = False) -> str | None:
    """What is wrong with a URL that came from outside, or None; its address is judged later, when it is known."""
    if len(url) > MAX_URL or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        return "the URL is too long or has characters that no URL has"
    try:
        parsed = URL(url)
        port = parsed.port
    except ValueError:
        return "the URL is not of its form"
    if parsed.scheme not in (("https",) if https_only else ("https", "http")) or not parsed.host:
        return "the URL must begin with https://" if https_only else "the URL must begin with https:// or http://"
    if parsed.user is not None or parsed.password is not None:
        return "the URL must not carry a user name or password"
    if port not in PORTS:
        return "the URL must lead to port 80 or 443"
    return None


def _public_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that was resolved just now and is connected to next."""
    family, kind, protocol, _, address = info
    if not is_public(address[0]):
        raise _NotPublic
    return socket.socket(family, kind, protocol)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in response.content.iter_chunked(16_384):
        found += chunk
        if len(found) > MAX_ANSWER:
            response.close()
            break
    return bytes(found[:MAX_ANSWER])


def _unreached(error: aiohttp.ClientConnectorError) -> Unreached | Forbidden:
    cause = error.os_error if isinstance(error.os_error, BaseException) else error
    if isinstance(cause, _NotPublic):
        return Forbidden(str(cause))
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return Unreached("its name has no address")
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return Unreached("no trustworthy TLS")
    return Unreached("no connection")
