"""A push service and a mail server that take everything: `python -m loadtest.bench.sink PORT MAIL_PORT`.

They read each message whole and answer as the real ones do, and nothing more, so that what is measured is the sender.
`GET /counts` on the first port says how many there were.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from typing import Final, cast

CREATED: Final = b"HTTP/1.1 201 Created\r\nLocation: /m/1\r\nTTL: 86400\r\nContent-Length: 0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class PushService(asyncio.Protocol):
    """HTTP/1.1, as much of it as a kept connection needs."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._read = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._read[:end])
            found = _LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._read) < whole:
                return
            del self._read[:whole]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        if head.startswith(b"GET /counts"):
            body = json.dumps(self._counts).encode()
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        self._counts["push"] += 1
        self._transport.write(CREATED)


class MailServer(asyncio.Protocol):
    """SMTP (RFC 5321) without extensions but SIZE and 8BITMIME."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._read = bytearray()
        self._in_mail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by inheritance
        self._transport.write(b"220 sink.example ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._read += data
        while True:
            mark = b"\r\n.\r\n" if self._in_mail else b"\r\n"
            end = self._read.find(mark)
            if end < 0:
                return
            line = bytes(self._read[:end])
            del self._read[: end + len(mark)]
            self._answer(line)

    def _answer(self, line: bytes) -> None:
        if self._in_mail:
            self._in_mail = False
            self._counts["mail"] += 1
            self._transport.write(b"250 2.0.0 taken\r\n")
            return
        command = line[:4].upper()
        self._in_mail = command == b"DATA"
        if command == b"QUIT":
            self._transport.write(b"221 2.0.0 bye\r\n")
            self._transport.close()
        else:
            self._transport.write(ANSWERS.get(command, b"250 2.0.0 ok\r\n"))


ANSWERS: Final = {
    b"EHLO": b"250-sink.example\r\n250-SIZE 10000000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
    b"DATA": b"354 go on\r\n",
}


async def serve(port: int, mail_port: int) -> None:
    """Until the process is ended."""
    counts: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    pushes = await loop.create_server(lambda: PushService(counts), "127.0.0.1", port)
    mails = await loop.create_server(lambda: MailServer(counts), "127.0.0.1", mail_port)
    async with pushes, mails:
        await pushes.serve_forever()


if __name__ == "__main__":
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
    else:
        uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
