"""One HTTP/2 connection to a provider: many requests at once, as many as the server allows, each with one answer.

It ends in good order: after a GOAWAY the streams that the server finishes are awaited, and those that it does not are
handed back as never sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    Event,
    PingAckReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from fanout.channels.goaway import GoAway, Splitter
from fanout.channels.http import MAX_ANSWER, Answer, Broken, Unreached

PING_EVERY: Final = 30.0
"""Seconds between two pings, so that nothing on the way forgets a connection at rest."""
PONG_WITHIN: Final = 10.0
LAST_ID: Final = 1 << 30
"""Streams are numbered once; a connection that came so far is replaced."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """It was not processed, by the server's own word or because it never left: it may be sent elsewhere."""


Exchanged = Answer | Broken | Unreached | Unsent


@dataclass(slots=True)
class _Stream:
    result: asyncio.Future[Exchanged]
    unsent: memoryview
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)

    @property
    def half_open(self) -> bool:
        """Whether one side has not ended it: we gave up, or the answer came before all of the request was sent."""
        if not self.result.done() or self.result.cancelled():
            return True
        return bool(self.unsent) and isinstance(self.result.result(), Answer)


class H2Link(asyncio.Protocol):
    """The connection. `on_over` is called once, when no new request may be put on it any more."""

    def __init__(self, on_over: Callable[[H2Link], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_over = on_over
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        # No server push; and APNs answers with a few bytes, so the windows that are the default will do.
        self._h2.local_settings = Settings(client=True, initial_values={SettingCodes.ENABLE_PUSH: 0})
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, _Stream] = {}
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False
        self.ready: asyncio.Future[str] = self._loop.create_future()
        """Done when the server has said how many streams it takes, or never will: then the text says why."""

    # Requests ----------------------------------------------------------------------------------------------------

    @property
    def usable(self) -> bool:
        """Whether requests may be put on it."""
        return not self._over

    async def exchange(self, headers: Mapping[str, str], body: bytes, timeout: float) -> Exchanged:
        """Send a request, `:method` and its kind among the headers, and wait up to `timeout` seconds for its answer."""
        number = 0
        try:
            async with asyncio.timeout(timeout):
                while not self._over and not self._free():
                    await self._turn()
                if self._over:
                    return Unsent()
                number, stream = self._begin(headers, body)
                return await stream.result
        except TimeoutError:
            return Broken("no answer in time") if number else Unreached("no free stream in time")
        finally:
            self._forget(number)

    def _free(self) -> bool:
        return len(self._streams) < self._h2.remote_settings.max_concurrent_streams

    async def _turn(self) -> None:
        turn: asyncio.Future[bool] = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            # The turn that came to one who gave up is the next one's.
            if turn.done() and not turn.cancelled():
                self._wake(1)
            raise

    def _begin(self, headers: Mapping[str, str], body: bytes) -> tuple[int, _Stream]:
        number = self._h2.get_next_available_stream_id()
        stream = self._streams[number] = _Stream(self._loop.create_future(), memoryview(body))
        self._h2.send_headers(number, list(headers.items()))
        self._send_body(number, stream)
        self._flush()
        if number >= LAST_ID:
            self._retire("its numbers are used up")
        return number, stream

    def _send_body(self, number: int, stream: _Stream) -> None:
        """As much of it as the server's window lets through; the rest follows when the window opens."""
        while (size := len(stream.unsent)) and (room := self._h2.local_flow_control_window(number)) > 0:
            part = stream.unsent[: min(room, self._h2.max_outbound_frame_size)]
            stream.unsent = stream.unsent[len(part) :]
            self._h2.send_data(number, bytes(part), end_stream=len(part) == size)

    def _forget(self, number: int) -> None:
        """End a stream, whether it was answered or given up."""
        stream = self._streams.pop(number, None)
        if stream is None:
            return
        if self._transport is not None and stream.half_open:
            self._h2.reset_stream(number, ErrorCodes.CANCEL)
            self._flush()
        self._settle_in()

    def _settle_in(self) -> None:
        """After a stream ended: let the next one begin, or close what is over and done."""
        if self._over:
            if not self._streams:
                self.close()
        else:
            self._wake(1)

    def _wake(self, most: int) -> None:
        while self._waiting and most > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(True)
                most -= 1

    # The connection's life ---------------------------------------------------------------------------------------

    def _retire(self, why: str) -> None:
        """Take no new requests."""
        if self._over:
            return
        self._over = True
        self._wake(len(self._waiting))
        if not self.ready.done():
            self.ready.set_result(why)
        self._on_over(self)

    def close(self) -> None:
        """Say farewell and end it; what is under way is lost. A second call does nothing."""
        transport = self._transport
        if transport is not None:
            self._h2.close_connection()
            self._flush()
            transport.close()
        self._lose("closed")

    def _drop(self, why: str) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.abort()
        self._lose(why)

    def _lose(self, why: str) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._retire(why)
        for stream in self._streams.values():
            _resolve(stream, Broken(why))

    def _flush(self) -> None:
        if self._transport is not None and (data := self._h2.data_to_send()):
            self._transport.write(data)

    # Pings -------------------------------------------------------------------------------------------------------

    def _ping(self) -> None:
        self._h2.ping(b"tocsin\0\0")
        self._flush()
        self._timer = self._loop.call_later(PONG_WITHIN, self._drop, "a ping was not answered")

    def _on_pong(self, _: PingAckReceived) -> None:
        self._rest()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(PING_EVERY, self._ping)

    # asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._h2.initiate_connection()
        self._flush()
        self._rest()

    def data_received(self, data: bytes) -> None:
        passed, farewells = self._splitter.feed(data)
        try:
            for event in self._h2.receive_data(passed):
                if (handler := _HANDLERS.get(type(event))) is not None:
                    handler(self, event)
        except ProtocolError:
            self._drop("the server does not keep to HTTP/2")
            return
        for farewell in farewells:
            self._on_goaway(farewell)
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lose("the connection was lost")

    # What comes --------------------------------------------------------------------------------------------------

    def _on_settings(self, _: RemoteSettingsChanged) -> None:
        if not self.ready.done():
            self.ready.set_result("")
        self._wake(len(self._waiting))
        self._on_window(None)

    def _on_window(self, _: WindowUpdated | None) -> None:
        for number, stream in self._streams.items():
            if stream.unsent and not stream.result.done():
                self._send_body(number, stream)

    def _on_response(self, event: ResponseReceived) -> None:
        if stream := self._streams.get(event.stream_id):
            found = {str(name): str(value) for name, value in event.headers}
            status = found.pop(":status", "")
            stream.status, stream.headers = int(status) if status.isdigit() else 0, found

    def _on_data(self, event: DataReceived) -> None:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if stream := self._streams.get(event.stream_id):
            stream.body += event.data[: MAX_ANSWER - len(stream.body)]

    def _on_end(self, event: StreamEnded) -> None:
        if stream := self._streams.get(event.stream_id):
            answer = Answer(stream.status, stream.headers, bytes(stream.body))
            _resolve(stream, answer if stream.status else Broken("no proper answer"))

    def _on_reset(self, event: StreamReset) -> None:
        if stream := self._streams.get(event.stream_id):
            # RFC 9113 §8.7: a stream that was refused was not processed.
            refused = event.error_code == ErrorCodes.REFUSED_STREAM
            _resolve(stream, Unsent() if refused else Broken("the server ended the stream"))

    def _on_goaway(self, farewell: GoAway) -> None:
        self._retire("the server sent the connection away")
        for number, stream in self._streams.items():
            if number > farewell.last:
                _resolve(stream, Unsent())
        if not self._streams:
            self.close()


def _resolve(stream: _Stream, result: Exchanged) -> None:
    if not stream.result.done():
        stream.result.set_result(result)


_HANDLERS: Final[Mapping[type[Event], Callable[[H2Link, Any], None]]] = {
    RemoteSettingsChanged: H2Link._on_settings,
    WindowUpdated: H2Link._on_window,
    ResponseReceived: H2Link._on_response,
    DataReceived: H2Link._on_data,
    StreamEnded: H2Link._on_end,
    StreamReset: H2Link._on_reset,
    PingAckReceived: H2Link._on_pong,
}
