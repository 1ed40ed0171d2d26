"""The drain client for machines without a C compiler: the options, commands and answers of drain.c, in Python.

It costs several times as much per message, so that it may saturate before the server does.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from loadtest.frames import BadFrame, Decoder, Frame, Opcode, encode, upgrade_request, upgraded

MAX_SAMPLES = 1 << 20


class State(Enum):
    """Of one connection."""

    CONNECTING = auto()
    UPGRADING = auto()
    OPENING = auto()
    READY = auto()
    CLOSED = auto()


@dataclass(slots=True)
class Connection:
    """One socket."""

    number: int
    socket: socket.socket
    state: State = State.CONNECTING
    replies: int = 0
    head: bytes = b""
    decoder: Decoder = field(default_factory=Decoder)


@dataclass(slots=True)
class Counters:
    """What `report` prints."""

    ready: int = 0
    failed: int = 0
    closed: int = 0
    refused: int = 0
    close_code: int = 0
    messages: int = 0
    frames: int = 0
    bytes: int = 0
    pings: int = 0
    began_ns: int = 0
    ready_ns: int = 0
    first_ns: int = 0
    last_ns: int = 0


class Client:
    """All connections and the one loop that serves them."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.hello = Path(options.hello).read_text().splitlines() if options.hello else []
        self.count = Counters(began_ns=time.monotonic_ns())
        self.poller = select.epoll()
        self.poller.register(0, select.EPOLLIN)
        self.open: dict[int, Connection] = {}
        self.started = self.in_flight = 0
        self.announced = False
        self.wait_for = self.wait_until = 0
        self.samples: list[int] = []
        self.typed = b""
        self.stamp = options.stamp.encode() if options.stamp else None

    def run(self) -> None:
        """Until `quit`, end of input, or the end of its life."""
        while True:
            self._after_turn()
            if self.options.nap and self.announced:
                time.sleep(self.options.nap / 1e6)
            for number, event in self.poller.poll(self._timeout(), 512):
                if number == 0:
                    self._on_stdin()
                elif connection := self.open.get(number):
                    self._on_event(connection, event)

    # Connections ------------------------------------------------------------------------------------------------

    def _start_one(self) -> None:
        link = socket.socket()
        link.setblocking(False)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        if self.options.host.startswith("127."):
            link.bind((f"127.0.0.{2 + self.started % self.options.sources}", 0))
        connection = self.open[link.fileno()] = Connection(self.started, link)
        self.started += 1
        self.in_flight += 1
        self.poller.register(link.fileno(), select.EPOLLOUT)
        link.connect_ex((self.options.host, self.options.port))
        connection.state = State.CONNECTING

    def _on_event(self, connection: Connection, event: int) -> None:
        try:
            if connection.state is State.CONNECTING:
                self._on_connected(connection)
            else:
                self._on_readable(connection)
        except (OSError, BadFrame):
            self._drop(connection)

    def _on_connected(self, connection: Connection) -> None:
        if fault := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(fault, os.strerror(fault))
        self.poller.modify(connection.socket.fileno(), select.EPOLLIN)
        connection.state = State.UPGRADING
        path = self.options.path.replace("#", str(connection.number), 1)
        connection.socket.send(upgrade_request(self.options.host, self.options.port, path))

    def _on_readable(self, connection: Connection) -> None:
        data = connection.socket.recv(1 << 18)
        now = time.monotonic_ns()
        self.count.bytes += len(data)
        if not data:
            self._drop(connection)
            return
        if connection.state is State.UPGRADING:
            data = self._take_head(connection, data)
        if data and connection.state is not State.CLOSED:
            for frame in connection.decoder.feed(data):
                self._on_frame(connection, frame, now)

    def _take_head(self, connection: Connection, data: bytes) -> bytes:
        connection.head += data
        head, end, rest = connection.head.partition(b"\r\n\r\n")
        if not end:
            return b""
        if not upgraded(head):
            self._drop(connection)
            return b""
        connection.head = b""
        connection.state = State.OPENING
        if self.options.replies == 0:
            self._become_ready(connection)
        if self.hello:
            text = self.hello[connection.number].replace("\t", "\n")
            connection.socket.send(encode(Opcode.TEXT, text.encode()))
        return rest

    def _become_ready(self, connection: Connection) -> None:
        connection.state = State.READY
        self.count.ready += 1
        self.in_flight -= 1

    def _drop(self, connection: Connection) -> None:
        if connection.state is State.CLOSED:
            return
        if connection.state is State.READY:
            self.count.closed += 1
        else:
            self.count.failed += 1
            self.in_flight -= 1
        connection.state = State.CLOSED
        del self.open[connection.socket.fileno()]
        connection.socket.close()

    # Messages ---------------------------------------------------------------------------------------------------

    def _on_frame(self, connection: Connection, frame: Frame, now: int) -> None:
        self.count.frames += 1
        if frame.opcode is Opcode.PING:
            self.count.pings += 1
            connection.socket.send(encode(Opcode.PONG, frame.payload))
        elif frame.opcode is Opcode.CLOSE:
            if len(frame.payload) >= 2:
                self.count.close_code = int.from_bytes(frame.payload[:2], "big")
            self._drop(connection)
        elif frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            for text in frame.payload.split(b"\n"):
                self._on_object(connection, text, now)

    def _on_object(self, connection: Connection, text: bytes, now: int) -> None:
        if text == b"{}":
            self.count.pings += 1
            connection.socket.send(encode(Opcode.TEXT, b"{}"))
        elif text.startswith(b'{"id":'):
            self.count.refused += b'"error":' in text[:40]
            connection.replies += 1
            if connection.replies == self.options.replies and connection.state is State.OPENING:
                self._become_ready(connection)
        else:
            self._on_message(text, now)

    def _on_message(self, text: bytes, now: int) -> None:
        self.count.messages += 1
        self.count.first_ns = self.count.first_ns or now
        self.count.last_ns = now
        if self.stamp is not None and len(self.samples) < MAX_SAMPLES:
            _, found, rest = text.partition(self.stamp)
            digits = rest[: len(rest) - len(rest.lstrip(b"0123456789"))]
            if found and digits:
                self.samples.append((now - int(digits)) // 1000)

    # Commands ---------------------------------------------------------------------------------------------------

    def _on_stdin(self) -> None:
        got = os.read(0, 4096)
        if not got:
            sys.exit(0)
        *lines, self.typed = (self.typed + got).split(b"\n")
        for line in lines:
            self._on_command(line.decode().split())

    def _on_command(self, words: list[str]) -> None:
        match words:
            case ["quit"]:
                sys.exit(0)
            case ["report"]:
                self._print("report")
            case ["samples"]:
                print(json.dumps({"event": "samples", "us": self.samples}), flush=True)
            case ["reset"]:
                count = self.count
                count.messages = count.frames = count.bytes = count.pings = count.first_ns = count.last_ns = 0
                self.samples.clear()
                self._print("reset")
            case ["wait", messages, milliseconds]:
                self.wait_for = int(messages)
                self.wait_until = time.monotonic_ns() + int(milliseconds) * 1_000_000

    def _print(self, event: str) -> None:
        fields = {name: getattr(self.count, name) for name in Counters.__slots__}
        print(json.dumps({"event": event} | fields), flush=True)

    def _timeout(self) -> float:
        if not self.wait_until:
            return 1.0
        return max(0.0, (self.wait_until - time.monotonic_ns()) / 1e9)

    def _after_turn(self) -> None:
        while self.started < self.options.connections and self.in_flight < self.options.window:
            self._start_one()
        if not self.announced and self.started == self.options.connections and self.in_flight == 0:
            self.announced = True
            self.count.ready_ns = time.monotonic_ns()
            self._print("ready")
        if self.wait_until and (self.count.messages >= self.wait_for or time.monotonic_ns() >= self.wait_until):
            self.wait_until = 0
            self._print("wait")


def main() -> None:
    """Run the client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--path", default="/")
    numbers = {"port": 0, "connections": 1, "window": 200, "sources": 4, "replies": 0, "nap": 0, "life": 600}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--hello")
    parser.add_argument("--stamp")
    options = parser.parse_args()
    signal.alarm(options.life)
    Client(options).run()


if __name__ == "__main__":
    main()
