"""What producers and operators send: HTTP requests one by one, or pipelined so that no answer holds up the next."""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Mapping

from loadtest.bench.process import Failed

ANSWERED = 10.0


class Http:
    """One kept-alive connection to a server on loopback."""

    def __init__(self, port: int) -> None:
        self._link = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWERED)

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Raises `Failed` unless the answer is 2xx."""
        self._link.request("POST", path, body, dict(headers))
        answer = self._link.getresponse()
        text = answer.read()
        if answer.status // 100 != 2:
            raise Failed(f"POST {path.partition('?')[0]} was answered {answer.status}: {text[:500]!r}")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body; status 0 when nobody answers."""
        try:
            self._link.request("GET", path)
            answer = self._link.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            self._link.close()
            return 0, ""

    def close(self) -> None:
        """Close the connection."""
        self._link.close()


class Pipeline:
    """Requests sent without waiting for the answers of earlier ones, spread over a few connections, and counted."""

    def __init__(self, port: int, connections: int = 8) -> None:
        self._links = [socket.create_connection(("127.0.0.1", port), timeout=ANSWERED) for _ in range(connections)]
        for link in self._links:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._seen = {link: b"" for link in self._links}
        self._turn = self._sent = self._good = 0

    def send(self, request: bytes, count: int = 1) -> None:
        """Send on the next connection what are the bytes of `count` requests."""
        self._turn = (self._turn + 1) % len(self._links)
        self._links[self._turn].sendall(request)
        self._sent += count

    def read_until(self, deadline: float) -> None:
        """Take what answers come until `deadline` (monotonic time)."""
        while (left := deadline - time.monotonic()) > 0:
            for link in select.select(self._links, [], [], left)[0]:
                self._take(link)

    def settle(self, seconds: float = ANSWERED) -> None:
        """Wait for the remaining answers. Raises `Failed` unless every request got a 2xx."""
        deadline = time.monotonic() + seconds
        while self._good < self._sent and time.monotonic() < deadline:
            self.read_until(min(deadline, time.monotonic() + 0.05))
        if self._good < self._sent:
            raise Failed(f"{self._good} of {self._sent} requests were accepted")

    def _take(self, link: socket.socket) -> None:
        got = link.recv(1 << 16)
        if not got:
            raise Failed("the server closed a producer's connection")
        # A status line may be cut in two: the last bytes are looked at again with what follows.
        seen = self._seen[link] + got
        self._good += seen.count(b"HTTP/1.1 20")
        keep = len(b"HTTP/1.1 20") - 1
        self._seen[link] = seen[-keep:]

    def close(self) -> None:
        """Close all."""
        for link in self._links:
            link.close()


def http_request(port: int, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """A POST as bytes."""
    fields = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{fields}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
