"""A client of the public protocol over a blocking WebSocket, with recovery.

Blocking is what locust wants: under gevent every wait lets another simulated person run.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from loadtest.frames import Decoder, Frame, Opcode, encode, upgrade_request, upgraded

INBOX = "inbox"
ANSWER = 15.0
"""How long a reply may take, in seconds."""

OnSubscribed = Callable[[str, int], None]
"""Takes a channel and the offset after which everything is owed; called once per channel."""
OnPublication = Callable[[dict[str, Any]], None]
"""Takes what an event carried as `data`."""


class Gone(ConnectionError):
    """The connection ended; `code` is the close code, 0 where there was none."""

    def __init__(self, code: int = 0, why: str = "") -> None:
        super().__init__(f"closed with {code} {why}".rstrip())
        self.code = code


class Refused(RuntimeError):
    """The server answered with an error; the text is its code and message."""


@dataclass(slots=True)
class Place:
    """Where a client stands in a channel."""

    epoch: str
    offset: int


class WebSocket:
    """One connection: text messages out, text messages in."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=ANSWER)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._decoder = Decoder()
        self._gone: Gone | None = None
        try:
            self._socket.sendall(upgrade_request(host, port, path))
            head, self._early = read_head(self._socket)
            if not upgraded(head):
                raise Refused(head.partition(b"\r\n")[0].decode(errors="replace"))
        except BaseException:
            self._socket.close()
            raise

    def send(self, *commands: dict[str, Any]) -> None:
        """Several commands go in one message."""
        self._socket.sendall(encode(Opcode.TEXT, "\n".join(map(json.dumps, commands)).encode()))

    def receive(self, seconds: float) -> list[bytes]:
        """The objects that came within `seconds`; returns with the first bytes. Raises `Gone` and `OSError`."""
        if self._gone is not None:
            raise self._gone
        data, self._early = self._early, b""
        if not data:
            if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
                return []
            data = self._socket.recv(1 << 16)
            if not data:
                raise Gone
        frames = self._decoder.feed(data)
        return [line for frame in frames for line in self._on_frame(frame).split(b"\n") if line]

    def _on_frame(self, frame: Frame) -> bytes:
        if frame.opcode is Opcode.CLOSE:
            self._socket.sendall(encode(Opcode.CLOSE, frame.payload[:2]))
            # Raised next time: what came before the close in the same bytes still counts.
            self._gone = Gone(int.from_bytes(frame.payload[:2], "big"), frame.payload[2:].decode(errors="replace"))
        if frame.opcode is Opcode.PING:
            self._socket.sendall(encode(Opcode.PONG, frame.payload))
        return frame.payload if frame.opcode is Opcode.TEXT else b""

    def drop(self) -> None:
        """End it without a word, as a lost network does."""
        self._socket.close()


class Listener:
    """A person's client: keeps its place in each channel, and recovers from there when it connects again."""

    def __init__(
        self,
        address: tuple[str, int],
        token: str,
        topics: list[str],
        on_subscribed: OnSubscribed,
        on_publication: OnPublication,
    ) -> None:
        self._address = address
        self._token = token
        self._topics = topics
        self._on_subscribed = on_subscribed
        self._on_publication = on_publication
        self._places: dict[str, Place] = {}
        self._asked: dict[int, str] = {}
        self._next_id = 0
        self._link: WebSocket | None = None
        self.unrecovered = 0
        """How often the server said that it could not give what was missed."""

    def connect(self) -> None:
        """Connect, subscribe to everything in the same message, and take the replies, with what was missed.

        Raises `Gone`, `Refused`, and `OSError`.
        """
        self.drop()
        self._link = WebSocket(*self._address, "/connection/websocket")
        self._asked.clear()
        inbox = {INBOX: self._from(INBOX)} if INBOX in self._places else {}
        commands = [self._ask("connect", INBOX, {"token": self._token, "subs": inbox})]
        commands += [self._ask("subscribe", name, {"channel": name} | self._from(name)) for name in self._topics]
        self._link.send(*commands)
        deadline = time.monotonic() + ANSWER
        while self._asked:
            if time.monotonic() > deadline:
                raise Refused("no reply in time")
            self._take(deadline - time.monotonic())

    def pump(self, seconds: float) -> None:
        """Take what comes within `seconds`. Raises `Gone` and `Refused`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(left)

    def drop(self) -> None:
        """Lose the connection, if there is one."""
        if self._link is not None:
            self._link.drop()
            self._link = None

    # What goes out --------------------------------------------------------------------------------------------------

    def _ask(self, method: str, channel: str, fields: dict[str, Any]) -> dict[str, Any]:
        self._next_id += 1
        self._asked[self._next_id] = channel
        return {"id": self._next_id, method: fields}

    def _from(self, channel: str) -> dict[str, Any]:
        place = self._places.get(channel)
        return {} if place is None else {"recover": True, "epoch": place.epoch, "offset": place.offset}

    # What comes in --------------------------------------------------------------------------------------------------

    def _take(self, seconds: float) -> None:
        if self._link is None:
            raise Gone
        for line in self._link.receive(seconds):
            said = json.loads(line)
            if not said:
                self._link.send({})
            elif "id" in said:
                self._on_reply(said)
            else:
                self._on_push(said["push"])

    def _on_reply(self, reply: dict[str, Any]) -> None:
        channel = self._asked.pop(reply["id"])
        if "error" in reply:
            raise Refused(f"{reply['error']['code']} {reply['error']['message']}")
        result = reply["connect"]["subs"][INBOX] if "connect" in reply else reply["subscribe"]
        asked = self._places.get(channel)
        self._places[channel] = Place(result.get("epoch", ""), result.get("offset", 0))
        if asked is None:
            self._on_subscribed(channel, self._places[channel].offset)
        elif not result.get("recovered"):
            self.unrecovered += 1
        for publication in result.get("publications", ()):
            self._on_pub(channel, publication)

    def _on_push(self, push: dict[str, Any]) -> None:
        channel = push.get("channel", "")
        if "pub" in push:
            self._on_pub(channel, push["pub"])
        elif "unsubscribe" in push and self._link is not None:
            if push["unsubscribe"].get("code", 0) < 2500:
                raise Refused(f"unsubscribed from {channel}")
            self._link.send(self._ask("subscribe", channel, {"channel": channel} | self._from(channel)))

    def _on_pub(self, channel: str, publication: dict[str, Any]) -> None:
        if offset := publication.get("offset", 0):
            self._places[channel].offset = offset
        self._on_publication(publication["data"]["data"])


def read_head(link: socket.socket) -> tuple[bytes, bytes]:
    """A response head, and the bytes that came behind it. Raises `Gone`."""
    got = b""
    while b"\r\n\r\n" not in got:
        more = link.recv(1 << 16)
        if not more or len(got) > 1 << 16:
            raise Gone
        got += more
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest
