"""POST to many hosts over kept connections: what `http.py` promises (checked addresses, no redirects, bounded answers,
failures as values), for senders of thousands a second. `http1_connection.py` says why.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections import deque
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from fanout.channels.addresses import is_public
from fanout.channels.http import Forbidden, Result, Unreached, url_fault
from fanout.channels.http1_connection import Http1Link

CONNECT_TIMEOUT: Final = 10.0
MAX_REST: Final = 15.0
"""Seconds after which a connection is not used again: servers close those that rest, and one that is closed as it is
used again costs a message an attempt."""

_URL: Final = re.compile(r"(https?://[!-.0-~]+)(/[!-\"$-~]*)", re.ASCII)
"""Origin and path; no fragment, which is never sent, and nothing that could end a header line."""


class Http1Client:
    """`allow_private` and `tls`: as in `Http`; `timeout`: seconds for a request; `connections`: most to one host."""

    def __init__(
        self, *, allow_private: bool, timeout: float, connections: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self._allow_private, self._timeout, self._connections = allow_private, timeout, connections
        self._tls = tls or ssl.create_default_context()
        self._hosts: dict[str, _Host] = {}

    async def post(self, url: str, *, headers: Mapping[str, str], body: bytes) -> Result:
        """Send one request. Never raises for what the network or the other side does."""
        if not self._allow_private and (fault := url_fault(url)) is not None:
            return Forbidden(fault)
        found = _URL.fullmatch(url)
        if found is None:
            return Forbidden("the URL is not of its form")
        origin, path = found.groups()
        host = self._hosts.get(origin)
        if host is None:
            address = _address(origin)
            if address is None:
                return Forbidden("the URL is not of its form")
            host = self._hosts[origin] = _Host(*address, self)
        try:
            return await host.exchange(_request(path, host.header, headers, body))
        finally:
            if host.idle:
                self._hosts.pop(origin, None)

    @property
    def hosts(self) -> int:
        """How many hosts there are connections to."""
        return len(self._hosts)

    async def close(self) -> None:
        """Close all connections."""
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()

    # For _Host ---------------------------------------------------------------------------------------------------

    async def connect(self, name: str, port: int, tls: bool, link: Http1Link) -> Unreached | Forbidden | None:
        """Connect a link; what stood in the way, or None."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connect(name, port, tls, link)
        except TimeoutError:
            return Unreached("no connection in time")

    async def _connect(self, name: str, port: int, tls: bool, link: Http1Link) -> Unreached | Forbidden | None:
        loop = asyncio.get_running_loop()
        fault: Unreached | Forbidden = Unreached("its name has no address")
        try:
            infos = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
        except OSError:
            return fault
        for family, kind, protocol, _, address in infos:
            if not self._allow_private and not is_public(str(address[0])):
                fault = Forbidden("the address is not public")
                continue
            made = socket.socket(family, kind, protocol)
            try:
                made.setblocking(False)
                await loop.sock_connect(made, address)
                context, server = (self._tls, name) if tls else (None, None)
                await loop.create_connection(lambda: link, sock=made, ssl=context, server_hostname=server)
                return None
            except ssl.SSLError:
                fault = Unreached("no trustworthy TLS")
            except OSError:
                fault = Unreached("no connection")
            except BaseException:
                made.close()
                raise
            made.close()
        return fault

    @property
    def limits(self) -> tuple[int, float]:
        """Most connections to one host, and seconds for a request."""
        return self._connections, self._timeout


class _Host:
    """The connections to one host: those that rest, newest last, and how many there may be."""

    def __init__(self, name: str, port: int, tls: bool, header: str, client: Http1Client) -> None:
        self._name, self._port, self._tls, self._client = name, port, tls, client
        connections, self._timeout = client.limits
        self._places = asyncio.Semaphore(connections)
        self._resting: deque[Http1Link] = deque()
        self._users = 0
        self.header = header
        """What `Host` says."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way and nothing is kept."""
        return self._users == 0 and not self._resting

    async def exchange(self, request: bytes) -> Result:
        """Send a request on a connection that rests, or on a new one."""
        self._users += 1
        try:
            async with self._places:
                link = self._take()
                if link is None:
                    link = Http1Link(self._forget)
                    fault = await self._client.connect(self._name, self._port, self._tls, link)
                    if fault is not None:
                        return fault
                result = await link.exchange(request, self._timeout)
                if link.usable:
                    self._resting.append(link)
                return result
        finally:
            self._users -= 1

    def close(self) -> None:
        for link in tuple(self._resting):
            link.close()

    def _take(self) -> Http1Link | None:
        oldest = asyncio.get_running_loop().time() - MAX_REST
        while self._resting and self._resting[0].rests_since < oldest:
            self._resting[0].close()  # which takes it out
        return self._resting.pop() if self._resting else None

    def _forget(self, link: Http1Link) -> None:
        if link in self._resting:
            self._resting.remove(link)


@lru_cache(maxsize=1_024)
def _address(origin: str) -> tuple[str, int, bool, str] | None:
    """Name, port, whether by TLS, and the header `Host` of an origin; None where it is none."""
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "@" in parts.netloc or any(c in parts.netloc for c in "?#\\"):
        return None
    tls = parts.scheme == "https"
    return parts.hostname, port or (443 if tls else 80), tls, parts.netloc


def _request(path: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """Head and body in one piece, so that they leave in one write."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    assert lines.count("\n") == len(headers)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: tocsin\r\nAccept-Encoding: identity\r\n"
        f"Content-Length: {len(body)}\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body
