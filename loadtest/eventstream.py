"""A client of plain event streams (WHATWG HTML §9.2) over a blocking socket, which resumes by `Last-Event-ID`."""

from __future__ import annotations

import json
import select
import socket
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from loadtest.listener import ANSWER, Gone, OnPublication, Refused, read_head


@dataclass(slots=True)
class Dechunker:
    """Undoes the chunked transfer coding (RFC 9112, 7.1)."""

    ended: bool = False
    """The last chunk came."""
    _rest: bytes = b""

    def feed(self, data: bytes) -> bytes:
        """The content of the chunks completed by `data`."""
        self._rest += data
        content = b""
        while b"\r\n" in self._rest:
            size_line, _, rest = self._rest.partition(b"\r\n")
            size = int(size_line.partition(b";")[0], 16)
            if size == 0:
                self.ended = True
                break
            if len(rest) < size + 2:
                break
            content += rest[:size]
            self._rest = rest[size + 2 :]
        return content


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `id` is empty where it had none."""

    id: str
    name: str
    data: str


@dataclass(slots=True)
class Parser:
    """Bytes to events; lines end in LF here, which is what the server is documented to send."""

    _rest: bytes = b""
    _fields: dict[str, list[str]] = field(default_factory=dict)

    def feed(self, data: bytes) -> list[Event]:
        """Events completed by `data`."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [event for line in lines if (event := self._on_line(line.rstrip(b"\r").decode())) is not None]

    def _on_line(self, line: str) -> Event | None:
        if line:
            name, _, value = line.partition(":")
            self._fields.setdefault(name, []).append(value.removeprefix(" "))
            return None
        fields, self._fields = self._fields, {}
        if "data" not in fields and "id" not in fields:
            return None
        return Event(
            fields.get("id", [""])[-1], fields.get("event", ["message"])[-1], "\n".join(fields.get("data", []))
        )


class EventStream:
    """A person's stream of their inbox and some topics."""

    def __init__(self, address: tuple[str, int], token: str, topics: list[str], on_publication: OnPublication) -> None:
        self._address = address
        self._token = token
        self._topics = topics
        self._on_publication = on_publication
        self._last_id = ""
        self._socket: socket.socket | None = None
        self._ready = False
        self.unrecovered = 0
        """How often the server said that it could not give what was missed."""
        self._chunked = False
        self._dechunker = Dechunker()
        self._parser = Parser()

    def connect(self) -> None:
        """Open the stream where the last one ended, and take what was missed. Raises `Refused`, `Gone`, `OSError`."""
        self.drop()
        host, port = self._address
        fields = {"Host": f"{host}:{port}", "Accept": "text/event-stream", "Authorization": f"Bearer {self._token}"}
        if self._last_id:
            fields["Last-Event-ID"] = self._last_id
        head = f"GET /sse?topics={quote(','.join(self._topics))} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
        link = self._socket = socket.create_connection(self._address, timeout=ANSWER)
        link.sendall(head.encode())
        answer, early = read_head(link)
        if not answer.startswith(b"HTTP/1.1 200"):
            self.drop()
            raise Refused(answer.partition(b"\r\n")[0].decode(errors="replace"))
        self._chunked = b"transfer-encoding: chunked" in answer.lower()
        self._dechunker, self._parser = Dechunker(), Parser()
        self._ready = False
        self._on_bytes(early)
        deadline = time.monotonic() + ANSWER
        while not self._ready:
            if time.monotonic() > deadline:
                raise Refused("the stream was not ready in time")
            self._take(deadline - time.monotonic())

    def pump(self, seconds: float) -> None:
        """Take what comes within `seconds`. Raises `Gone`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._take(left)

    def drop(self) -> None:
        """Lose the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _take(self, seconds: float) -> None:
        if self._socket is None:
            raise Gone
        if select.select([self._socket], [], [], max(0.0, seconds))[0]:
            data = self._socket.recv(1 << 16)
            if not data:
                raise Gone
            self._on_bytes(data)

    def _on_bytes(self, data: bytes) -> None:
        for event in self._parser.feed(self._dechunker.feed(data) if self._chunked else data):
            self._last_id = event.id or self._last_id
            self._on_event(event)
        if self._dechunker.ended:
            self.drop()
            raise Gone

    def _on_event(self, event: Event) -> None:
        if event.name == "message" and event.data:
            self._on_publication(json.loads(event.data)["data"]["data"])
        self._ready = self._ready or event.name == "tocsin.ready"
        self.unrecovered += event.name == "tocsin.resync"
