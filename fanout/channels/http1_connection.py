"""One HTTP/1.1 connection on which one request at a time is sent and answered, at as little cost as can be.

For Web Push, where a worker sends thousands a second: the general client (`http.py`) takes about 260 µs of a core for a
request, which is more than the encryption does; this takes about 60.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

from fanout.channels.http import MAX_ANSWER, Answer, Broken


class Http1Link(asyncio.Protocol):
    """The connection. `on_lost` is called once, when it is over."""

    def __init__(self, on_lost: Callable[[Http1Link], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._lost = False
        self._result: asyncio.Future[Answer | Broken] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._until_end = False
        """The answer under way has no length: it ends with its connection (RFC 9112 §6.3)."""
        self.rests_since = 0.0
        """Loop time at which its last answer was complete."""

    @property
    def usable(self) -> bool:
        """Whether the next request may be sent on it."""
        return not self._lost and self._result is None

    async def exchange(self, request: bytes, timeout: float) -> Answer | Broken:
        """Send a request, head and body, and wait up to `timeout` seconds for its answer."""
        if self._transport is None:
            return Broken("the connection was lost")
        result: asyncio.Future[Answer | Broken] = self._loop.create_future()
        self._result = result
        timer = self._loop.call_later(timeout, self._end, "no answer in time")
        self._transport.write(request)
        try:
            return await result
        finally:
            timer.cancel()
            if not result.done() or result.cancelled():
                self._end("given up")
            self._result = None

    def close(self) -> None:
        """End it. A second call does nothing."""
        self._end("closed")

    def _end(self, why: str) -> None:
        if self._transport is not None:
            # Not `close`, which would wait for what the other side does not take.
            self._transport.abort()
            self._transport = None
        if not self._lost:
            self._lost = True
            self._on_lost(self)
        self._answer(Broken(why))

    def _answer(self, result: Answer | Broken) -> None:
        if self._result is not None and not self._result.done():
            self._result.set_result(result)

    # asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._result is None or self._result.done():
            # An answer that nobody asked for: whatever follows could be taken for the next one's.
            self._end("no proper answer")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._end("no proper answer")

    def eof_received(self) -> None:
        """After this the transport closes by itself."""
        if self._until_end:
            self._complete(keep=False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end("the connection was lost")

    # httptools ---------------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._until_end = not ("content-length" in self._headers or "transfer-encoding" in self._headers)

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > MAX_ANSWER:
            self._complete(keep=False)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._complete(keep=self._parser.should_keep_alive())
        self._headers = {}
        self._body = bytearray()
        self._until_end = False

    def _complete(self, *, keep: bool) -> None:
        if self._result is None or self._result.done():
            # A second answer to one request: the next request would get the wrong one.
            self._end("no proper answer")
            return
        self.rests_since = self._loop.time()
        self._answer(Answer(self._parser.get_status_code(), self._headers, bytes(self._body[:MAX_ANSWER])))
        if not keep:
            self._end("closed")
