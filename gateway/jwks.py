"""The keys an issuer publishes (RFC 7517): fetched off the loop, kept for a while, asked for rarely.

Each issuer has a set of its own, so two that give a key the same name cannot vouch for each other's users; where the
set is fetched comes from the settings and never from a token. A storm of unknown names costs one fetch per cooldown.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from bus.clock import Clock
from gateway.auth import INVALID
from gateway.effects import Denied
from gateway.keyring import BadKey, Key, KeyRing, published_keys
from gateway.wire.codes import Error

LIFETIME: Final = 300.0
"""Seconds after which the set is fetched again."""
COOLDOWN: Final = 30.0
"""Seconds between two fetches that unknown names can cause."""
RETRIES: Final = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the next attempt after the first, second, … failure."""
TIMEOUT: Final = 5.0
"""Seconds a whole fetch may take."""
MAX_DOCUMENT: Final = 262_144
MAX_WAITING: Final = 10_000
"""Most callers that wait for one fetch."""

SLICE: Final = 100
"""How many of them go on before the loop may do something else: each has a signature to check."""

Fetch = Callable[[str, Clock], bytes]


class FetchFailed(Exception):
    """The set could not be fetched: no connection, no answer in time, a redirect, not a 200, or too large."""


def url_fault(url: str) -> str | None:
    """What is wrong with the address of a set, or None. Plain HTTP is for this machine and for names without a dot,
    which live in a network of one's own."""
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None:
        return "must be a URL with a host and without a password"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_own(parts.hostname)):
        return None
    return "must begin with https://"


def _is_own(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return "." not in host


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could lead anywhere, so it is a failure."""

    def redirect_request(self, *_: Any) -> None:
        return None


def fetch(url: str, clock: Clock) -> bytes:
    """The document at `url`. Blocks; bounded in time and size. Raises `FetchFailed`."""
    deadline = clock.monotonic() + TIMEOUT
    opener = urllib.request.build_opener(_NoRedirect)
    parts: list[bytes] = []
    try:
        with opener.open(url, timeout=TIMEOUT) as response:
            while part := response.read1(65_536):
                parts.append(part)
                if sum(map(len, parts)) > MAX_DOCUMENT or clock.monotonic() > deadline:
                    raise FetchFailed("too large or too slow")
    except (OSError, HTTPException) as error:
        raise FetchFailed(type(error).__name__) from None
    return b"".join(parts)


def pause_after(failures: int) -> float:
    """Seconds until the next fetch, after so many failures in a row."""
    return RETRIES[min(failures, len(RETRIES)) - 1] if failures else LIFETIME


class PublishedKeys:
    """One issuer's keys together with our own. `run` keeps them fresh; `want` asks for a fetch before its time."""

    def __init__(self, url: str, own: Sequence[Key], clock: Clock, fetch: Fetch = fetch) -> None:
        """`own`: keys from the settings, always in the ring. Raises `BadKey` for an address that will not do."""
        if fault := url_fault(url):
            raise BadKey(f"the address of the key set {fault}")
        self.ring = KeyRing(own, growing=True)
        self._url = url
        self._own = tuple(own)
        self._clock = clock
        self._fetch = fetch
        self._failures = 0
        self._fetched_at: float | None = None
        self._document = b""
        self._fetching = True
        self._wanted = asyncio.Event()
        self._waiting: list[Callable[[], None]] = []

    @property
    def fresh(self) -> bool:
        """Whether the set is known and not too old."""
        return self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < 2 * LIFETIME

    @property
    def missing(self) -> Denied:
        """What to tell a client whose key is not here: that its token is bad only where we can know."""
        return INVALID if self.fresh else Denied(Error.INTERNAL)

    def want(self, on_ready: Callable[[], None]) -> bool:
        """Ask for a fetch; `on_ready` is called when it is over, well or not. False, and no call, while the last one
        is too recent."""
        if (not self._fetching and self._cooling()) or len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(on_ready)
        self._wanted.set()
        return True

    def _cooling(self) -> bool:
        return self._failures > 0 or (
            self._fetched_at is not None and self._clock.monotonic() - self._fetched_at < COOLDOWN
        )

    async def run(self) -> None:
        """Fetch now, then whenever it is time or somebody wants it. Ends when cancelled."""
        while True:
            await self.fetch_once()
            try:
                async with asyncio.timeout(pause_after(self._failures)):
                    await self._wanted.wait()
            except TimeoutError:
                pass

    async def fetch_once(self) -> None:
        """One fetch. A failure leaves the keys as they are."""
        self._fetching = True
        try:
            document = await asyncio.to_thread(self._fetch, self._url, self._clock)
        except FetchFailed:
            document = b""
        self._fetching = False
        self._wanted.clear()
        if self._publishes(document):
            self._failures = 0
            self._fetched_at = self._clock.monotonic()
        else:
            self._failures += 1
        waiting, self._waiting = self._waiting, []
        for number, on_ready in enumerate(waiting, 1):
            on_ready()
            if number % SLICE == 0:
                await asyncio.sleep(0)

    def _publishes(self, document: bytes) -> bool:
        """Take in what was fetched; False where it is no set of keys. The same as before leaves the ring as it is, and
        with it what was verified by it."""
        if self._document and document == self._document:
            return True
        keys = published_keys(document)
        if keys is None:
            return False
        self._document = document
        self.ring = KeyRing((*self._own, *keys), growing=True)
        return True
