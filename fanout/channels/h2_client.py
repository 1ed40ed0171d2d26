"""Requests to one HTTP/2 server: over one connection, replaced when the server sends it away, and over no other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Final

from fanout.channels.h2_connection import H2Link, Unsent
from fanout.channels.http import Answer, Broken, Unreached

CONNECT_TIMEOUT: Final = 10.0
HTTPS: Final = 443
SENDS: Final = 4
"""How often a request is put on a connection, when each time the server does not process it."""


class H2Client:
    """`timeout`: seconds for a request; `tls`: whom to trust."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext, *, timeout: float) -> None:
        self._host, self._port, self._tls, self._timeout = host, port, tls, timeout
        self._link: H2Link | None = None
        self._failure = Unreached("no connection")
        self._attempts = 0
        self._lock = asyncio.Lock()

    async def post(self, path: str, *, headers: Mapping[str, str], body: bytes) -> Answer | Unreached | Broken:
        """Send one request. Never raises for what the network or the other side does."""
        authority = self._host if self._port == HTTPS else f"{self._host}:{self._port}"
        all_headers = {":method": "POST", ":scheme": "https", ":authority": authority, ":path": path, **headers}
        for _ in range(SENDS):
            link = await self._usable()
            if isinstance(link, Unreached):
                return link
            result = await link.exchange(all_headers, body, self._timeout)
            if not isinstance(result, Unsent):
                return result
        return Unreached("the server sent every connection away")

    async def close(self) -> None:
        """Close the connection; one that was sent away ends with its last request."""
        if self._link is not None:
            self._link.close()

    async def _usable(self) -> H2Link | Unreached:
        begun = self._attempts
        if self._link is None:
            async with self._lock:
                # Whoever waited here shares what the one before found, be it a connection or a failure.
                if self._link is None and self._attempts == begun:
                    self._attempts += 1
                    await self._connect()
        return self._link or self._failure

    async def _connect(self) -> None:
        link = H2Link(self._ended)
        loop = asyncio.get_running_loop()
        fault = "no connection in time"
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.create_connection(
                    lambda: link, self._host, self._port, ssl=self._tls, server_hostname=self._host
                )
                if not (fault := await link.ready):
                    self._link = link
        except ssl.SSLError:
            fault = "no trustworthy TLS"
        except TimeoutError:
            pass
        except OSError:
            fault = "no connection"
        finally:
            self._failure = Unreached(fault or "the connection was lost")
            if fault:
                link.close()

    def _ended(self, link: H2Link) -> None:
        if self._link is link:
            self._link = None
