"""One who stays while a herd comes back: asks for something small again and again, and notes how long each answer took.

A process of its own, for one that drives the herd too would tell mostly of itself. Each question has its time: where an
answer took longer than until the next, that one's wait began when it should have been asked.

`python -m loadtest.bench.stays PORT TOKEN FILE`, until SIGTERM. A line of FILE: when (monotonic), and the wait, in s.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from loadtest.bench.servers import TOPIC
from loadtest.frames import Opcode, encode, upgrade_request

EVERY = 0.05
"""Seconds between two questions."""
QUESTION = b'{"id":3,"unsubscribe":{"channel":"none"}}'
"""Answered by the gateway alone, and no mistake, of which a client may make but so many."""
PATIENCE = 60.0
"""Seconds that an answer may take."""
PING = b"\x81\x02{}"
"""The gateway's own, as it goes over the wire."""


def until(sock: socket.socket, wanted: bytes) -> None:
    """Read up to an answer. Raises OSError when it does not come."""
    seen = b""
    while wanted not in seen:
        data = sock.recv(65_536)
        if not data:
            raise ConnectionError("sent away")
        if PING in data:
            sock.sendall(encode(Opcode.TEXT, b"{}"))
        seen = seen[-len(wanted) :] + data


def main(port: int, token: str, path: Path) -> None:
    """Stay."""
    hello = ({"id": 1, "connect": {"token": token}}, {"id": 2, "subscribe": {"channel": TOPIC}})
    question = encode(Opcode.TEXT, QUESTION)
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock, path.open("w", buffering=1) as notes:
        sock.sendall(upgrade_request("127.0.0.1", port, "/connection/websocket"))
        sock.sendall(encode(Opcode.TEXT, "\n".join(map(json.dumps, hello)).encode()))
        until(sock, b'"id":2')
        due = time.monotonic()
        while True:
            sock.sendall(question)
            until(sock, b'"id":3')
            now = time.monotonic()
            notes.write(f"{due:.6f} {now - due:.6f}\n")
            due += EVERY
            time.sleep(max(0.0, due - now))


def noted(path: Path) -> list[tuple[float, float]]:
    """When each question was due, and how long it waited for its answer, in seconds."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []  # the last is not whole yet
    return [(float(due), float(wait)) for due, wait in (line.split() for line in lines)]


def waits(notes: Sequence[tuple[float, float]], since: float, to: float) -> Sequence[float]:
    """The waits of those between two monotonic times, and of the one before."""
    return [wait for due, wait in notes if since - EVERY <= due <= to]


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
